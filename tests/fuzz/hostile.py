"""What a stranger sends: bytes, texts, headers and times that nobody expects, and valid ones a little broken."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, NamedTuple

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

DEEP = 995, 5_000, 100_000
"""How deep things are nested: just about as deep as Python can go, and far beyond."""
DIGITS = 19, 400, 5_000
"""How many digits numbers have: more than a 64-bit integer, more than a double, more than Python reads at once."""

NESTED = [
    text
    for depth in DEEP
    for text in (b"[" * depth, b"[" * depth + b"]" * depth, b'{"a":' * depth, b'{"a":' * depth + b"1" + b"}" * depth)
]
ODD_BYTES = [
    b"", b"\0", b"\xff", b"\xc3", b"\xc3\x01", b"\0\0\0\0\1", b"\x80abc", b"\xed\xa0\x80", b"\xef\xbb\xbf{}", b"null",
    b"{}", b"[]", b"1", b'""', b'"\\ud800"', b"1e400", b"-0", b"NaN", b"\xc3\x01" + b"\xff" * 40, b"{" * 3, b"#",
    *(b"9" * digits for digits in DIGITS),
]  # fmt: skip
ODD_TEXTS = [
    "", " ", ".", "..", "/", "%", "%FF", "\0", "\n", "\ud800", "\udcff", "é", "٣", "²", "１", "-1", "+1", "1_0",
    " 1", "1 ",
    "0x1", "nan", "inf", "-inf", "1e9", "1e400", "true", "null", "*", '"', '""', 'W/"x"', "a,b", ":", "::", "a:b:c",
    *("9" * digits for digits in DIGITS), "x" * 100_000,
]  # fmt: skip
TIMES = [-(2**63), -62_135_596_800_001, -2, -1, 0, 1, 1_764_000_000_000, 253_402_300_800_000, 2**62, 2**63 - 1]
"""Kafka's milliseconds: before the year 1, no time, today, the year 10000, and as far as the field goes."""

texts = st.sampled_from(ODD_TEXTS) | st.text(st.characters(codec=None), max_size=30)
numbers = st.sampled_from([0, 1, -1, 2**31, -(2**31) - 1, 2**53 + 1, 2**63, -(2**63) - 1, 10**18, 10**400, 1.5, 1e308])
raw = st.sampled_from(ODD_BYTES) | st.sampled_from(NESTED) | st.binary(max_size=200)
money = st.sampled_from(
    ["1", "1.25", "1.2500", "1.250000000", "0.00001", "-1", "-0", "2.5E+1", "1E+99999999", "1E-99999999", "NaN", "sNaN",
     "Infinity", "0E-30", "9" * 40, " 25", "2_5", "٢٥"]
)  # fmt: skip
moments = st.sampled_from(
    ["2026-11-29T10:00:00Z", "2026-11-29T10:00:00", "2026-11-29T10:00:00.123456Z", "2026-11-29T10:00:00+14:00",
     "0001-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59Z", "9999-12-31T23:59:59-12:00",
     "2026-02-29T00:00:00Z", "2026-W48", "10000-01-01T00:00:00Z", "1", ""]
)  # fmt: skip
scalars: SearchStrategy[Any] = (
    st.none() | st.booleans() | numbers | money | moments | texts | st.sampled_from(["sale", "credit", "A-1", "1"])
)
values: SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3), max_leaves=6
)


def as_json(value: Any) -> bytes:
    """As a careless program writes it: with NaN, with halves of surrogate pairs, with numbers of any length."""
    return json.dumps(value).encode()


json_bytes = values.map(as_json) | raw


@st.composite
def mutated(draw: st.DrawFn, valid: Sequence[bytes]) -> bytes:
    """One of these, with some of it cut, turned, doubled, or put in the place of another part."""
    data = draw(st.sampled_from(valid))
    for _ in range(draw(st.integers(0, 3))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 12)))
        piece = draw(st.sampled_from([b"", data[start:end] * 2, b"\xff" * (end - start)]) | st.binary(max_size=6) | raw)
        data = data[:start] + piece + data[end:]
    return data


def keyed(names: Sequence[str], known: Mapping[str, SearchStrategy[Any]] | None = None) -> SearchStrategy[bytes]:
    """A JSON object with some of these names, whatever stands there, and perhaps with others."""
    known = known or {}
    named = st.fixed_dictionaries({}, optional={name: known.get(name, values) for name in names})
    others = st.dictionaries(texts, values, max_size=2)
    return st.builds(lambda its, other: as_json(other | its), named, st.just({}) | others)


def field_names(*classes: type) -> list[str]:
    """The fields of dataclasses, each once."""
    return list(dict.fromkeys(field.name for class_ in classes for field in fields(class_)))  # type: ignore[arg-type]


class Record(NamedTuple):
    """A record as aiokafka gives it."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]
    timestamp: int


def records(
    names: Sequence[str],
    keys: SearchStrategy[bytes],
    contents: SearchStrategy[bytes],
    known: Mapping[str, SearchStrategy[bytes]] | None = None,
) -> SearchStrategy[Record]:
    """A record with these headers or some of them, once or twice, as text or bytes or nothing, or with strangers'."""
    known = known or {}
    text = texts.map(lambda text: text.encode(errors="surrogatepass"))
    name = st.sampled_from([*names, "x"]) | texts.filter(lambda text: text.isprintable())
    header = name.flatmap(lambda it: st.tuples(st.just(it), known.get(it, st.nothing()) | raw | text | st.none()))
    usual = st.tuples(*(st.tuples(st.just(name), its) for name, its in known.items())).map(list)
    return st.builds(
        lambda key, value, usual, headers, time: Record("topic", 0, 0, key, value, tuple(usual + headers), time),
        keys | keys | raw | st.none(),
        contents | contents | contents | st.none(),
        usual | st.just([]),
        st.lists(header, max_size=6),
        st.sampled_from(TIMES),
    )
