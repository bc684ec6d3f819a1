"""The shape of a state: it changes when what is written changes, and with nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field, make_dataclass
from enum import Enum
from typing import Annotated, Any

import msgspec
import pytest

from schemas.release.shape import shape_of


@dataclass(frozen=True, slots=True)
class Tree:
    name: str
    parts: tuple[Tree, ...] = ()


class Size(Enum):
    SMALL = "S"
    LARGE = "L"


Point = make_dataclass("Point", [("x", int), ("y", int)])


def point(*fields: Any) -> Any:
    return shape_of(make_dataclass("Point", fields))


def test_the_whole_shape() -> None:
    """As it is digested: whatever release of msgspec is installed, `schemas.lock` was made of just these values."""
    class_ = make_dataclass("Box", [("size", Size), ("of", dict[str, int], field(default_factory=dict))])
    assert shape_of(class_) == {
        "DataclassType": "Box",
        "of": {
            "fields": [
                {"name": "size", "required": True, "type": {"EnumType": "Size", "of": ["S", "L"]}},
                {
                    "name": "of",
                    "required": False,
                    "type": {"DictType": {"key_type": {"StrType": {}}, "value_type": {"IntType": {}}}},
                    "factory": "dict",
                },
            ]
        },
    }


def test_a_type_that_holds_itself() -> None:
    shape = shape_of(Tree)
    assert shape["of"]["fields"][1]["type"] == {"VarTupleType": {"item_type": {"DataclassType": "Tree"}}}


@pytest.mark.parametrize(
    "other",
    [
        [("x", int), ("y", str)],
        [("x", int), ("z", int)],
        [("x", int), ("y", int | None)],
        [("x", int), ("y", int, 0)],
        [("x", int)],
        [("y", int), ("x", int)],
    ],
)
def test_another_shape(other: Any) -> None:
    assert point(*other) != point(("x", int), ("y", int))


def test_what_is_said_for_people_is_none_of_it() -> None:
    """Neither the documentation of a class nor that of a field is written with a value."""
    said = make_dataclass("Point", [("x", Annotated[int, msgspec.Meta(description="east")]), ("y", int)])
    said.__doc__ = "A point."
    assert shape_of(said) == shape_of(Point)


@pytest.mark.parametrize("type_", [Point | Tree, object, list[object]])
def test_a_type_that_no_snapshot_can_hold(type_: Any) -> None:
    with pytest.raises(TypeError):
        shape_of(type_)
