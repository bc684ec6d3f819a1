"""Readers of what people and their programs send: over HTTP, on the command line, in files and in the environment."""

from __future__ import annotations

import asyncio
import base64
import math
import tempfile
import time
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import strategies as st
from multidict import CIMultiDict

from projections.gateway import command_request
from projections.gateway.command_request import CommandReader
from projections.http import forwarding
from projections.http.at_least import BadPositionHeader, read_all_at_least, read_at_least, read_wait
from projections.http.etags import is_known
from projections.http.pages import Paging
from projections.http.parameters import read_query
from projections.http.preconditions import expected_sequence
from projections.http.problems import BadRequest, HttpProblem
from projections.routing.signature import SIGNATURE, USER, HopSignature
from projections.streaming.list_cursor import ListCursor
from projections.views.live_rows import read_seen_row
from streams.access.grants import Grants
from streams.access.oidc import Oidc, _KeySet, _usable
from streams.access.principal import NotKnown
from streams.access.tokens import Tokens, new_token
from streams.cli import dead_letters
from streams.cli.run import CliError
from streams.journal.position import BadPosition, Position
from streams.open_journal import open_journal
from streams.settings import Settings, SettingsError
from streams.shop.sales_file import COLUMNS, SalesError, read_rows
from tests.fuzz.from_kafka import COMMAND_HEADERS
from tests.fuzz.hostile import Record, as_json, field_names, json_bytes, keyed, mutated, records, scalars, texts, values
from tests.fuzz.reader import Reader
from tests.fuzz.worlds import DECIDERS
from tests.issuer import jwk

# -- what is read for people ----------------------------------------------------------------------------------------

_letters = records(
    COMMAND_HEADERS,
    st.just(b"A-1"),
    json_bytes,
    {
        "dl_type": st.sampled_from([b"Unreadable", b"\xff"]),
        "dl_time": st.sampled_from([b"1764000000000", b"99999999999999", b"9" * 5_000, b"-1", b"x"]),
        "dl_position": st.sampled_from([b"order-commands:0:1", b"x"]),
    },
)


def _letter(its: list[Record]) -> None:
    for it in dead_letters.not_dropped(its):
        dead_letters.summary(it)
        as_json(dead_letters.letter_details(it))
        dead_letters.retry_headers(it)
        dead_letters.letter_command_id(it)


def _sales(data: bytes) -> None:
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        file.write(data)
        file.flush()
        list(read_rows(Path(file.name)))


_SALE = b"536365,85123A,WHITE LANTERN,6,2010-12-01 08:26:00,2.55,17850.0,United Kingdom\n"

# -- HTTP ----------------------------------------------------------------------------------------------------------

_forms = {type: dict(decider.commands) for type, decider in DECIDERS.items()}


def _fields(type: str) -> list[str]:
    return field_names(*DECIDERS[type].commands.values())


_TAG = "orders-1/order-3:125:0/9/5f1c2ab34d5e6f70"
TAGS = [_TAG, f'"{_TAG}"', f'W/"{_TAG}", "y"', f'"{_TAG}', '"9"', '"%s"' % ("9" * 5_000), f"{_TAG}, *", '"' * 3_000]
_bodies = st.sampled_from(sorted(DECIDERS)).flatmap(
    lambda type: st.tuples(
        st.just(type),
        keyed(
            ["type", "data", "id"],
            {
                "type": st.sampled_from([*DECIDERS[type].commands]) | scalars,
                "data": st.fixed_dictionaries({}, optional=dict.fromkeys(_fields(type), values)) | values,
            },
        )
        | json_bytes,
    )
)  # fmt: skip
_positions = texts | st.sampled_from(TAGS) | st.sampled_from(
    ["order-3:125", "order-3:125:0", "order-٣:1", "order-" + "9" * 5_000 + ":1", "order-0:", "order--1:1",
     "orders-1,order-0:12:3,order-1:7:0", "orders-1,", ",", "orders-1,order-0:x"]
)  # fmt: skip
_headers = st.lists(st.tuples(
    st.sampled_from(["Idempotency-Key", "Prefer", "At-Least", "Content-Type", "If-Match", "If-None-Match", "X-Hop"]),
    _positions | st.sampled_from(['"a\\"b"', "wait=nan", "wait=" + "9" * 5_000, "respond-async, wait=1", 'W/"x", *']),
), max_size=4)  # fmt: skip


def _request_headers(its: list[tuple[str, str]]) -> None:
    headers: CIMultiDict[str] = CIMultiDict(its)
    is_known(headers, '"x"')
    expected_sequence(headers, "order", 3)
    command_request.command_id(headers)
    command_request.wait_of(headers)


_odd = _positions | st.sampled_from(["\udcff", "00", ""])  # as aiohttp decodes what is no UTF-8
_signed = st.tuples(
    st.just("/orders/") | _odd,
    st.fixed_dictionaries(
        {SIGNATURE: _odd}, optional=dict.fromkeys((forwarding.HOP, forwarding.SEEN, forwarding.DIGEST, USER), _odd)
    ),
)


def _check_signature(given: tuple[str, dict[str, str]]) -> None:
    path, headers = given
    signed = headers | {SIGNATURE: f"{int(time.time())}:{headers[SIGNATURE]}"}
    for its in (headers, signed):
        assert not HopSignature(lambda: [b"secret"]).holds("GET", path, its)


def _parse_body(given: tuple[str, bytes]) -> None:
    type, body = given
    name, _, value = CommandReader(_forms, 1_000_000, "replies", 4).parse(type, body)
    command_request.fingerprint(type, "A-1", name, value)


# -- who asks --------------------------------------------------------------------------------------------------------

_GRANT = b'[[grants]]\nto = ["oidc:a"]\nrole = "commander"\ncontexts = ["orders"]\nkeys = ["{sub}-*"]\n'
_parts = mutated([b'{"alg":"RS256","kid":"a"}', b'{"sub":"a","exp":1}', b"[" * 3_000]).map(
    lambda data: base64.urlsafe_b64encode(data).rstrip(b"=").decode()
)
_jwts = st.lists(_parts | _odd, min_size=1, max_size=4).map(".".join)
_oidc = Oidc("https://issuer.invalid", "a")
_oidc._keys, _oidc._read_at = _usable(_KeySet([jwk(ec.generate_private_key(ec.SECP256R1())) | {"kid": "a"}])), math.inf
_asked = asyncio.new_event_loop()


def _identify(token: str) -> None:
    _oidc._asked_at = math.inf  # nobody is asked for keys
    _asked.run_until_complete(_oidc.identify(token))


# -- the operator's ------------------------------------------------------------------------------------------------

_URLS = st.sampled_from([
    "cassandra://h:9042/k", "postgresql://u:p@h:5432/d", "sqlite:///f.db", "memory://", "kafka://a:1,b:2", "http://h/",
    "postgresql://[::1]:x/d", "cassandra://u:p@:0/", "postgresql://h/d?sslmode=verify-full&sslrootcert=/x", "sqlite://",
])  # fmt: skip
_mutated_urls = mutated(
    [b"cassandra://h:9042/k", b"postgresql://u:p@h:5432/d?a=b", b"sqlite:///f.db", b"kafka://a:9092,b:9"]
).map(lambda data: data.replace(b"\0", b"").decode("latin-1"))
_settings = st.fixed_dictionaries(
    {},
    optional={
        it.name.upper(): texts.filter(lambda text: "\0" not in text) | _URLS | _mutated_urls
        for it in fields(Settings)
    },
)  # fmt: skip


def _read_settings(environment: Mapping[str, str]) -> None:
    settings = Settings.from_environment(environment)
    settings.bootstrap_servers  # noqa: B018  (a property that reads)
    open_journal(settings.journal_url, settings.namespace, "orders")


READERS = [
    Reader("dead letters", st.lists(_letters, min_size=1, max_size=4), _letter),
    Reader("a file of sales", mutated([",".join(COLUMNS).encode() + b"\n" + _SALE * 2]), _sales, (SalesError,)),
    Reader("a command over HTTP", _bodies, _parse_body, (HttpProblem,), watched=True),
    Reader("headers of a command", _headers, _request_headers, (HttpProblem,)),
    Reader("an id in a path", texts.map(lambda it: "/orders/" + it), lambda it: command_request.read_path_id(it, 2),
           (HttpProblem,)),
    Reader("the signature of a hop", _signed, _check_signature),
    Reader("a bearer token", _odd | texts, Tokens.read("").find, (NotKnown,)),
    Reader("a token of an issuer", _jwts | texts, _identify, (NotKnown,)),
    Reader("the file of tokens", mutated([new_token("ci")[1].encode()]).map(lambda it: it.decode("latin-1")),
           Tokens.read, (ValueError,)),
    Reader("the file of grants", mutated([_GRANT]).map(lambda it: it.decode("latin-1")), Grants.read, (ValueError,)),
    Reader("At-Least", _positions, lambda it: read_at_least(it, 8, ("order", "product")), (BadPositionHeader,)),
    Reader("Prefer", _positions | st.just("wait=nan, wait=inf, wait=" + "9" * 400), read_wait),
    Reader("Last-Event-ID of a row", _positions, lambda it: read_seen_row(it, "order-3"), (BadPositionHeader,)),
    Reader("positions to wait for", st.lists(_positions, max_size=3),
           lambda it: read_all_at_least(it, 8, ("order", "product")), (BadPositionHeader,)),
    Reader("Last-Event-ID of a list", _positions, lambda it: ListCursor.parse(it, "orders"), (BadPositionHeader,)),
    Reader("a page", st.fixed_dictionaries({}, optional={"limit": texts, "after": texts}),
           lambda it: read_query(it, Paging), (BadRequest,)),
    Reader("how far a hop has read", _positions, lambda it: forwarding.read_seen({forwarding.SEEN: it})),
    Reader("a position in a row", _positions, Position.parse, (BadPosition,)),
    Reader("the settings", _settings, _read_settings, (SettingsError,)),
    Reader("a dead letter's place", texts, lambda it: dead_letters.parse_position(it, "show"), (CliError,)),
]  # fmt: skip
