"""The query parameters of a request: one `msgspec.Struct` parses, documents and types them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from projections.http.problems import BadRequest

EXAMPLE = "example"
"""In the `extra` of a field's `Meta`: what a parameter looks like, for the client that has sent something else."""

T = TypeVar("T")

_AT_FIELD = re.compile(r"(?s)(?P<detail>.*) - at `\$\.(?P<name>.*)`")


def read_query(query: Mapping[str, str], type: type[T]) -> T:
    """The parameters of a query as a struct of this type. Raises `BadRequest`.

    Parameters that the struct does not have are ignored; of one that stands there twice the first counts.
    """
    try:
        return msgspec.convert(dict(query), type, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequest(_detail(query, type, str(error))) from None
    except UnicodeEncodeError as error:
        raise BadRequest(str(error)) from None


def _detail(query: Mapping[str, str], type: Any, error: str) -> str:
    """What is wrong, with the parameter and what it is to be; the text of the error where it is of no field."""
    at = _AT_FIELD.fullmatch(error)
    if at is None or at["name"] not in query:
        return error
    form: Any = inspect.type_info(type)
    [field] = [field for field in form.fields if field.encode_name == at["name"]]
    return f"{at['name']}={query[at['name']]!r}: {_wanted(field.type) or at['detail']}"


def _wanted(form: inspect.Type) -> str:
    match form:
        case inspect.Metadata(extra={"example": str(example)}):
            return example
        case inspect.Metadata(type=inner):
            return _wanted(inner)
        case inspect.UnionType(types=types):
            return next(filter(None, map(_wanted, types)), "")
        case inspect.IntType(ge=int(least), le=int(most)):
            return f"a number from {least} to {most}"
        case inspect.IntType(ge=int(least), lt=int(end)):
            return f"a number from {least} to {end - 1}"
        case inspect.LiteralType(values=(*first, last)):
            return f"use {', '.join(map(str, first))} or {last}"
        case _:
            return ""
