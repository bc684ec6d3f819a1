"""The text of a schema's file: a line for each field, and records within records unfolded."""

from __future__ import annotations

import json
from typing import Any

LINE = 240
"""A field that is longer than that is unfolded. Its doc is on the line, and a doc is a sentence or two."""


def text_of(schema: dict[str, Any]) -> str:
    """The text of the schema of a record, the same for the same schema, keys in the order that they have."""
    return f"{_unfolded(schema, '')}\n"


def _rendered(value: Any, indent: str, before: int) -> str:
    """On one line where it fits behind `before` characters and holds no record."""
    line = json.dumps(value, ensure_ascii=False)
    return line if not _holds_record(value) and before + len(line) <= LINE else _unfolded(value, indent)


def _unfolded(value: Any, indent: str) -> str:
    inner = f"{indent}  "
    if isinstance(value, dict):
        items = []
        for key, item in value.items():
            head = f"{json.dumps(key)}: "
            is_list_of_fields = key == "fields" and item
            body = _unfolded(item, inner) if is_list_of_fields else _rendered(item, inner, len(inner) + len(head))
            items.append(f"{inner}{head}{body}")
        return "{\n" + ",\n".join(items) + f"\n{indent}}}"
    if isinstance(value, list):
        items = [f"{inner}{_rendered(item, inner, len(inner))}" for item in value]
        return "[\n" + ",\n".join(items) + f"\n{indent}]"
    return json.dumps(value, ensure_ascii=False)


def _holds_record(value: Any) -> bool:
    if isinstance(value, dict):
        return value.get("type") == "record" or any(map(_holds_record, value.values()))
    return isinstance(value, list) and any(map(_holds_record, value))
