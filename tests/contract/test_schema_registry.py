"""What is asked of a schema registry, on a real one."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Sequence
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest

from projections.publishing.registry_framing import RegistryFraming
from schemas.registry import Schema
from schemas.upcasting import Upcaster, dropped
from streams.journal.memory import MemoryJournal
from streams.kafka.client import ProducerRecord
from streams.registry.client import Incompatible, RegistryAddress, RegistryDown, RegistryError, SchemaRegistry
from streams.registry.schema_ids import NotRegistered, SchemaIds
from streams.settings import Settings
from tests.contract.registry_door import RegistryDoor
from tests.e2e.client import eventually
from tests.e2e.worker import free_port
from tests.unit.schemas.test_upcasting import schema

ONE = schema("Counted", 1, ("count", "long"))
TWO = schema("Counted", 2, ("count", "long"), ("unit", "string", "piece"))
OTHER = schema("Counted", 2, ("weight", "double"))
DECLARED = schema("Counted", 2, ("weight", "double"), compatibility="BACKWARD")


@pytest.fixture
async def registry(registry_url: str) -> AsyncIterator[SchemaRegistry]:
    """A client of the real one."""
    async with SchemaRegistry(RegistryAddress(registry_url)) as registry:
        yield registry


@pytest.fixture
def topic() -> str:
    """A topic that nobody else uses."""
    return f"t{uuid.uuid4().hex[:8]}-events"


def ids_of(
    registry: SchemaRegistry,
    topic: str,
    *schemas: Schema,
    may_register: bool = True,
    upcasters: Sequence[Upcaster] = (),
) -> SchemaIds:
    return SchemaIds(registry, topic, schemas, upcasters, may_register)


async def get(registry_url: str, path: str) -> Any:
    """What the registry itself says."""
    async with aiohttp.ClientSession() as client, client.get(registry_url + path) as response:
        assert 200 == response.status, await response.text()
        return await response.json(content_type=None)


async def told(ids: SchemaIds) -> list[str]:
    return [line async for line in ids.learn_all()]


async def hold_to(registry_url: str, subject: str, compatibility: str) -> None:
    """Set the compatibility of a subject."""
    async with (
        aiohttp.ClientSession() as client,
        client.put(f"{registry_url}/config/{subject}", json={"compatibility": compatibility}) as response,
    ):
        assert 200 == response.status


def encoded(schema: Schema) -> bytes:
    """The beginning of an event of this schema; nobody here reads more."""
    return b"\xc3\x01" + bytes.fromhex(schema.fingerprint) + b"body"


async def test_versions_are_registered_in_their_order(registry: SchemaRegistry, registry_url: str, topic: str) -> None:
    """Under the topic and the record's full name; each id leads to the schema, and a second time changes nothing."""
    ids = ids_of(registry, topic, ONE, TWO)
    subject = f"{topic}-test.Counted"
    first = await told(ids)
    assert [f"schema {subject} version {n}: registered" for n in (1, 2)] == [line.partition(",")[0] for line in first]
    for registered in (ONE, TWO):
        found = await get(registry_url, f"/schemas/ids/{ids[bytes.fromhex(registered.fingerprint)]}")
        assert json.loads(registered.json) == json.loads(found["schema"])
    second = await told(ids_of(registry, topic, ONE, TWO, may_register=False))
    assert [line.replace("registered", "found") for line in first] == second
    assert [1, 2] == await get(registry_url, f"/subjects/{subject}/versions")


async def test_who_may_not_register_looks_up(registry: SchemaRegistry, registry_url: str, topic: str) -> None:
    """What is missing is named with the command to run; nothing is registered, in a subject that is there either."""
    reader = ids_of(registry, topic, ONE, TWO, may_register=False)
    with pytest.raises(NotRegistered, match=rf"{topic}-test.Counted version 1.*schemas register"):
        await told(reader)
    await told(ids_of(registry, topic, ONE))
    with pytest.raises(NotRegistered, match=r"version 2"):
        await told(reader)
    assert [1] == await get(registry_url, f"/subjects/{topic}-test.Counted/versions")


async def test_an_incompatible_version_is_refused(registry: SchemaRegistry, registry_url: str, topic: str) -> None:
    """The registry's own rule holds where no exception is declared; the message says what is in the way."""
    await told(ids_of(registry, topic, ONE))
    await hold_to(registry_url, f"{topic}-test.Counted", "FULL")
    with pytest.raises(Incompatible, match=rf"{topic}-test.Counted version 2.*PUT /config/{topic}-test.Counted"):
        await told(ids_of(registry, topic, ONE, OTHER))
    assert {"compatibilityLevel": "FULL"} == await get(registry_url, f"/config/{topic}-test.Counted")


@pytest.mark.parametrize(
    ("second", "upcasters"),
    [(DECLARED, ()), (OTHER, (Upcaster("Counted", 1, dropped),))],
    ids=["attribute", "upcaster"],
)
async def test_a_declared_exception_is_registered(
    registry: SchemaRegistry, registry_url: str, topic: str, second: Schema, upcasters: Sequence[Upcaster]
) -> None:
    """A version that only newer code may read, or that an upcaster leads to: its subject is held to nothing any more,
    and that is said."""
    await told(ids_of(registry, topic, ONE))
    await hold_to(registry_url, f"{topic}-test.Counted", "FULL")
    _, line = await told(ids_of(registry, topic, ONE, second, upcasters=upcasters))
    assert "registered, the compatibility of its subject set to NONE" in line
    assert {"compatibilityLevel": "NONE"} == await get(registry_url, f"/config/{topic}-test.Counted")
    assert [1, 2] == await get(registry_url, f"/subjects/{topic}-test.Counted/versions")


async def test_only_the_stream_that_needs_a_schema_waits(
    registry: SchemaRegistry, registry_url: str, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    """What a newer worker wrote is looked up by what the journal keeps of it. Until it is registered its stream waits,
    and says for what; others go on, and so does this one afterwards, in order."""
    journal = MemoryJournal()
    await journal.create()
    await journal.save_schemas({schema.fingerprint: schema.json for schema in (ONE, TWO)})
    await told(ids_of(registry, topic, ONE))
    registered = RegistryFraming(ids_of(registry, topic, ONE, may_register=False), journal)
    await registered.start()
    known: list[ProducerRecord] = [(b"1", encoded(ONE), [])]
    newer: list[ProducerRecord] = [*known, (b"2", encoded(TWO), []), (b"3", b"{}", [])]
    waiting = asyncio.create_task(registered("count-0", newer))
    await eventually(lambda: "count-0: events wait" in caplog.text, 10, "nothing is said")
    assert "version 2" in caplog.text
    [(_, wire, _)] = await registered("count-1", known)
    assert wire is not None
    assert (b"\x00", b"body") == (wire[:1], wire[5:])
    assert not waiting.done()
    await told(ids_of(registry, topic, ONE, TWO))
    one, two, three = (value for _, value, _ in await waiting)
    assert (wire, b"{}") == (one, three)
    assert two is not None
    found = await get(registry_url, f"/schemas/ids/{int.from_bytes(two[1:5], 'big')}")
    assert json.loads(TWO.json) == json.loads(found["schema"])


async def test_what_may_be_registered_is_registered_when_it_is_met(
    registry: SchemaRegistry, registry_url: str, topic: str
) -> None:
    """A worker that may do so registers what a newer one wrote, with nobody's help, and asks no second time."""
    journal = MemoryJournal()
    await journal.create()
    await journal.save_schemas({schema.fingerprint: schema.json for schema in (ONE, TWO)})
    door = RegistryDoor(registry_url, "me", "secret")
    await door.open()
    async with SchemaRegistry(RegistryAddress(f"http://127.0.0.1:{door.port}", "me", "secret")) as client:
        registered = RegistryFraming(ids_of(client, topic, ONE), journal)
        await registered.start()
        [(_, first, _)] = await registered("count-0", [(b"1", encoded(TWO), [])])
        asked = door.requests
        assert [(b"1", first, [])] * 3 == await registered("count-1", [(b"1", encoded(TWO), [])] * 3)
        assert asked == door.requests
    await door.close()
    assert [1, 2] == await get(registry_url, f"/subjects/{topic}-test.Counted/versions")


async def test_a_login_is_asked_for(registry_url: str, topic: str) -> None:
    """With the right user and password all works; with others the reason is told, and neither of them."""
    door = RegistryDoor(registry_url, "me", "p@s/s")
    await door.open()
    for login, refused in (
        ("me:p%40s%2Fs", ""),
        ("me:wrong", "refuses this user"),
        ("", "wants a user and a password"),
    ):
        url = f"http://{login}@127.0.0.1:{door.port}"
        address = RegistryAddress.of(Settings(schema_registry_url=url))
        assert address is not None
        async with SchemaRegistry(address) as client:
            if refused:
                with pytest.raises(RegistryError, match=refused) as caught:
                    await client.look_up(topic, ONE.json)
                assert not isinstance(caught.value, RegistryDown)
                assert "wrong" not in str(caught.value)
            else:
                assert 0 < await client.register(f"{topic}-a", ONE.json)
    await door.close()


async def test_a_registry_that_does_not_answer_is_down(topic: str) -> None:
    """Nothing listens; or something does that never answers, and is given up after a few seconds."""
    async with SchemaRegistry(RegistryAddress(f"http://127.0.0.1:{free_port()}")) as client:
        with pytest.raises(RegistryDown, match=r"Connect call failed"):
            await client.look_up(topic, ONE.json)
    silent = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with SchemaRegistry(RegistryAddress(f"http://127.0.0.1:{port}")) as client:
        with pytest.raises(RegistryDown, match=r"does not answer within"):
            await client.look_up(topic, ONE.json)
    silent.close()


@pytest.mark.parametrize(
    ("change", "expected"),
    [("/nothing", "is the path of SCHEMA_REGISTRY_URL right"), ("https", "no TLS")],
    ids=["path", "tls"],
)
async def test_another_server_than_meant_is_told(registry_url: str, topic: str, change: str, expected: str) -> None:
    """Asking again would not help: a path that the server does not have, or TLS with one that has none."""
    url = registry_url.replace("http:", "https:") if change == "https" else registry_url + change
    async with SchemaRegistry(RegistryAddress(url)) as client:
        with pytest.raises(RegistryError, match=expected) as caught:
            await client.look_up(topic, ONE.json)
    assert not isinstance(caught.value, RegistryDown)


async def test_names_may_hold_anything(registry: SchemaRegistry, registry_url: str, topic: str) -> None:
    """What is special in a URL is escaped in a subject."""
    subject = f"{topic}-a b%c"
    id = await registry.register(subject, ONE.json)
    assert id == await registry.look_up(subject, ONE.json)
    assert [1] == await get(registry_url, f"/subjects/{quote(subject)}/versions")
