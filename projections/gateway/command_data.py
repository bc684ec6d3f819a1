"""The data of a command from a person: read as its owner will read it, and stricter where people mistype.

On Kafka a field that a command does not have is passed over, so that a newer sender does no harm. Who writes by hand
has misspelt it, and would never learn.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import msgspec

from schemas.command_json import json_reader

Accepted = Mapping[str, Mapping[str, type]]
"""What may be sent: by aggregate type the classes of its commands, by name."""

_PATH = re.compile(r"(?s)(?P<detail>.*?)(?: - at `\$(?P<path>.*)`)?")
_STEP = re.compile(r"\.(?P<name>\w+)|\[(?P<index>\d+)\]")
_MISSING = re.compile(r"Object (?:missing required|contains unknown) field `(?P<name>.*)`")


class DataFault(msgspec.Struct, frozen=True):
    """What is wrong at one place; `pointer` is a JSON pointer (RFC 6901) into the body."""

    pointer: str
    detail: str


class Invalid(Exception):
    """JSON that is no such command."""

    def __init__(self, faults: list[DataFault]) -> None:
        super().__init__("; ".join(f"{fault.pointer or '/'}: {fault.detail}" for fault in faults))
        self.faults = faults


class CommandData:
    """Reads the data of one kind of command."""

    def __init__(self, class_: type) -> None:
        self._decode = json_reader(class_)
        self._form = msgspec.inspect.type_info(class_)

    def check(self, data: bytes) -> Any:
        """The data as plain values. Raises `Invalid`, and what `read_json` raises."""
        value = read_json(data)
        faults = [
            DataFault(pointer, f"unknown field; {known}") for pointer, known in _unknown(self._form, value, "/data")
        ]
        try:
            self._decode(data)
        except msgspec.ValidationError as error:
            faults.append(fault(error, "/data"))
        if faults:
            raise Invalid(faults)
        return value


def read_json(text: bytes, type: Any = Any) -> Any:
    """JSON of this type. Raises `msgspec.ValidationError` when it is JSON of another, else `ValueError`."""
    try:
        return msgspec.json.decode(text, type=type)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def fault(error: msgspec.ValidationError, within: str = "") -> DataFault:
    """What msgspec says of the value at the pointer `within`, with a pointer in place of its own path.

    A field that is missing is pointed at where it should stand. Keys of mappings are not in that path: the pointer ends
    at the mapping.
    """
    found = _PATH.fullmatch(str(error))
    assert found is not None, "it matches any text"
    pointer = within
    path = found["path"] or ""
    at = 0
    while step := _STEP.match(path, at):
        pointer += "/" + (step["name"] or step["index"])
        at = step.end()
    if at == len(path) and (field := _MISSING.fullmatch(found["detail"])):
        pointer += "/" + escaped(field["name"])
    return DataFault(pointer, found["detail"])


def escaped(name: str) -> str:
    """A name as a part of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def _unknown(form: Any, value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    """Pointers to fields that no type has, each with those that there are. Values of another type are passed over."""
    if isinstance(form, msgspec.inspect.UnionType):
        records = [it for it in form.types if _is_record(it)]
        others = [it for it in form.types if not _is_record(it)]
        for it in [*others, *(records if len(records) == 1 else ())]:  # of several records any may be meant
            yield from _unknown(it, value, pointer)
    elif isinstance(value, dict) and _is_record(form):
        fields = {field.encode_name: field.type for field in form.fields}
        for name, its in value.items():
            if name in fields:
                yield from _unknown(fields[name], its, f"{pointer}/{escaped(name)}")
            else:
                yield f"{pointer}/{escaped(name)}", _known(fields)
    elif isinstance(value, dict) and isinstance(form, msgspec.inspect.DictType):
        for name, its in value.items():
            yield from _unknown(form.value_type, its, f"{pointer}/{escaped(name)}")
    elif isinstance(value, list) and hasattr(form, "item_type"):
        for index, its in enumerate(value):
            yield from _unknown(form.item_type, its, f"{pointer}/{index}")


def _is_record(form: Any) -> bool:
    return isinstance(form, msgspec.inspect.DataclassType | msgspec.inspect.StructType)


def _known(fields: Collection[str]) -> str:
    return f"there are {', '.join(fields)}" if fields else "there are none"
