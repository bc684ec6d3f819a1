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
    parts = _PATH.fullmatch(str(error))
    assert parts is not None, "it matches any text"
    pointer = within
    path = parts["path"] or ""
    at = 0
    while step := _STEP.match(path, at):
        pointer += "/" + (step["name"] or step["index"])
        at = step.end()
    if at == len(path) and (field := _MISSING.fullmatch(parts["detail"])):
        pointer += "/" + escaped(field["name"])
    return DataFault(pointer, parts["detail"])


def escaped(name: str) -> str:
    """A name as a part of a JSON pointer."""
    return name.replace("~", "~0").replace("/", "~1")


def _unknown(form: Any, value: Any, pointer: str) -> Iterator[tuple[str, str]]:
    """Pointers to fields that no type has, each with the fields that there are. Values of other types are ignored."""
    if isinstance(form, msgspec.inspect.UnionType):
        records = [branch for branch in form.types if _is_record(branch)]
        others = [branch for branch in form.types if not _is_record(branch)]
        for branch in [*others, *(records if len(records) == 1 else ())]:  # of several records any may be meant
            yield from _unknown(branch, value, pointer)
    elif isinstance(value, dict) and _is_record(form):
        fields = {field.encode_name: field.type for field in form.fields}
        for name, item in value.items():
            if name in fields:
                yield from _unknown(fields[name], item, f"{pointer}/{escaped(name)}")
            else:
                yield f"{pointer}/{escaped(name)}", _known(fields)
    elif isinstance(value, dict) and isinstance(form, msgspec.inspect.DictType):
        for name, item in value.items():
            yield from _unknown(form.value_type, item, f"{pointer}/{escaped(name)}")
    elif isinstance(value, list) and hasattr(form, "item_type"):
        for index, item in enumerate(value):
            yield from _unknown(form.item_type, item, f"{pointer}/{index}")


def _is_record(form: Any) -> bool:
    return isinstance(form, msgspec.inspect.DataclassType | msgspec.inspect.StructType)


def _known(fields: Collection[str]) -> str:
    return f"there are {', '.join(fields)}" if fields else "there are none"
