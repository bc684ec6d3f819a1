"""The shape of a type: the form in which its values are written, as plain values that are compared by their digest.

It is made of msgspec's inspection of the type, and not of the JSON Schema that msgspec makes: the schema differs
between releases of msgspec (0.23 added the defaults of factories), and a digest that is kept for years must not.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec
from msgspec import inspect

from aggregates.personal import PersonalForm


def shape_of(type_: Any) -> Any:
    """The shape of `type_`, of lists, dicts and text. Raises `TypeError` for a type that JSON cannot express."""
    msgspec.json.Decoder(type_)
    return _Shape().of(inspect.type_info(type_))


class _Shape:
    def __init__(self) -> None:
        self._met: set[type] = set()

    def of(self, part: Any) -> Any:
        """Attributes with msgspec's default are left out, so that a later release can add attributes."""
        if isinstance(part, inspect.Metadata):
            return self.of(part.type)  # titles, descriptions, examples
        if isinstance(part, inspect.Field):
            default = {} if part.default is msgspec.NODEFAULT else {"default": _plain(part.default)}
            factory = {} if part.default_factory is msgspec.NODEFAULT else {"factory": part.default_factory.__name__}
            field = {"name": part.encode_name, "required": part.required, "type": self.of(part.type)}
            return field | default | factory
        if isinstance(part, inspect.CustomType) and part.cls is PersonalForm:
            return "Personal"
        if isinstance(part, inspect.CustomType):
            raise TypeError(f"a value of {part.cls.__qualname__} cannot be written as JSON")
        if isinstance(part, inspect.Type):
            attributes = {
                field.name: value
                for field in msgspec.structs.fields(part)
                if field.name != "cls" and (value := getattr(part, field.name)) != field.default
            }
            class_ = getattr(part, "cls", None)
            if class_ is None:
                return {type(part).__name__: self.of(attributes)}
            if class_ in self._met:
                return {type(part).__name__: class_.__name__}
            self._met.add(class_)
            values = [member.value for member in class_] if issubclass(class_, Enum) else self.of(attributes)
            return {type(part).__name__: class_.__name__, "of": values}
        if isinstance(part, dict):
            return {name: self.of(value) for name, value in part.items()}
        if isinstance(part, tuple | list):
            return [self.of(value) for value in part]
        return _plain(part)


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value, str_keys=True, enc_hook=lambda value: type(value).__name__)
