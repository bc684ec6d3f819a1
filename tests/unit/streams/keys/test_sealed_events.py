"""What is personal is sealed before the commit, and nothing that is kept or sent has it in the clear."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import msgspec
import pytest

from aggregates.personal import Erased, Known, NotOpened
from projections.projection import Projection, PublishedEvent
from schemas.codec import Codec
from schemas.formats import AVRO, JSON, Format
from schemas.registry import Schemas
from schemas.sealing import KeysNeeded, Place, opened, sealed_of
from streams.deciding.cache import Cache, encode_snapshots
from streams.deciding.command_handler import CommandHandler
from streams.deciding.group_handler import GroupHandler
from streams.deciding.messages import Message
from streams.journal.event_view import entries
from streams.journal.memory import MemoryJournal
from streams.journal.port import Commit, RecordedEvent, SliceHead, StoredEvent
from streams.journal.snapshots import form_of
from streams.limits import Limits
from streams.moments import now
from tests.unit.streams.keys.club import Joined, State, codecs, member, write_schemas
from tests.unit.streams.keys_world import Workers

CANARY = "Zuleika Canary-Quartz"
FORMS = (
    CANARY.encode(),
    CANARY.encode("utf-16-le"),
    base64.b64encode(CANARY.encode())[:-4],
    CANARY.encode().hex().encode(),
    json.dumps(CANARY)[1:-1].encode(),
)
PLACE = Place("M1", 1)


def has_canary(data: bytes) -> bool:
    """Whether bytes have the name in any form."""
    return any(form in data for form in FORMS)


class World:
    """An owner's handler on a journal in memory, with the keys of two workers."""

    def __init__(self, folder: Path) -> None:
        self.workers = Workers()
        self.keys = self.workers.one
        self.events, commands = codecs(folder, self.keys)
        self.journal = MemoryJournal()
        self.commands = CommandHandler(
            decider=member, events=self.events, commands=commands, window=10, limits=Limits(snapshot_every=1)
        )
        self.head = Commit("member@0", 0, 1, "a", "topic", {0: SliceHead()}, 0, now())
        self.handler = self.new_handler()

    def new_handler(self) -> GroupHandler:
        return GroupHandler(self.commands, journal=self.journal, cache=Cache(10**6), log="member@0", slices=1)

    async def send(self, *commands: tuple[str, str, str]) -> list[tuple[str, str]]:
        """Decide commands (id of the aggregate, type, data) as one group, and commit. Returns the outcomes."""
        first = self.head.slices[0].offset + 1
        messages = [
            Message(0, first + at, id.encode(), data.encode(), [("ce_type", type.encode())], 1.0)
            for at, (id, type, data) in enumerate(commands)
        ]
        group = await self.handler.decide_group(messages, self.head)
        assert group.done == len(messages)
        self.head = Commit("member@0", group.nr, 1, "a", "topic", group.slices, group.nr - 1, now(), group.events)
        await self.journal.append(self.head)
        await self.journal.derive([self.head])
        self.snapshots = encode_snapshots(group.snapshots)
        await self.journal.save_snapshots("member", self.snapshots)
        self.handler.settle(group.nr)
        return [(it.reply.status, it.reply.error.type if it.reply.error else "") for it in group.verdicts if it.reply]

    @property
    def kept(self) -> bytes:
        """All that the journal and the keys have."""
        rows = [row.value for row in self.workers.rows.values()]
        return msgspec.msgpack.encode([self.head, self.snapshots]) + b"".join(rows)

    async def state(self, id: str) -> State:
        """Of an aggregate, as a new owner loads it."""
        return (await self.new_handler().look(id)).state  # type: ignore[no-any-return]


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world of its own."""
    return World(tmp_path / "club")


JOIN = json.dumps({"name": CANARY, "friend": "Eve", "friend_id": "M2"})


async def test_commits_and_snapshots_have_the_sealed_form_alone(world: World) -> None:
    """The event, its state and its snapshot are read again, by who has the keys."""
    assert await world.send(("M1", "Join", JOIN), ("M1", "Greet", "{}")) == [("accepted", "")] * 2
    assert world.snapshots
    assert not has_canary(world.kept)
    assert await world.state("M1") == State(Known(CANARY), 1)
    world.journal._store.snapshots.clear()
    assert await world.state("M1") == State(Known(CANARY), 1)


@pytest.mark.parametrize("with_snapshots", [True, False])
async def test_a_forgotten_member_is_erased_in_all_that_is_loaded(world: World, with_snapshots: bool) -> None:
    """The fold goes on without the name, and nothing new is said of him; others lose nothing."""
    await world.send(("M1", "Join", JOIN), ("M2", "Join", json.dumps({"name": "Eve"})))
    await world.keys.erase("M1")
    if not with_snapshots:
        world.journal._store.snapshots.clear()
    assert await world.state("M1") == State(Erased())
    assert await world.state("M2") == State(Known("Eve"))
    [row] = await world.journal.events("member", "M1")
    assert world.events.decode(row.event.data, PLACE) == (Joined(Erased(), Known("Eve"), "M2"),)
    world.handler = world.new_handler()
    outcomes = await world.send(("M1", "Greet", "{}"), ("M1", "Join", JOIN), ("M2", "Greet", "{}"))
    assert outcomes == [("accepted", ""), ("rejected", "SubjectErased"), ("accepted", "")]


async def test_one_event_speaks_of_several(world: World) -> None:
    """Of two persons in an event one is forgotten, and the other not."""
    await world.send(("M1", "Join", JOIN))
    await world.keys.erase("M2")
    await world.keys.fetch(["M2"])
    [row] = await world.journal.events("member", "M1")
    assert world.events.decode(row.event.data, PLACE) == (Joined(Known(CANARY), Erased(), "M2"),)


async def test_keys_are_fetched_for_a_group_at_once(world: World) -> None:
    """A hundred new members need one round of fetching, and a hundred warm ones none."""
    await world.send(*((f"M{number}", "Join", json.dumps({"name": "Eve"})) for number in range(100)))
    assert world.keys.fetched == 100
    await world.send(*((f"M{number}", "Greet", "{}") for number in range(100)))
    assert world.keys.fetched == 100


@pytest.mark.parametrize("format", [AVRO, JSON], ids=lambda format: format.name)
async def test_whoever_has_no_keys_sees_that_something_is_sealed(world: World, format: Format, tmp_path: Path) -> None:
    """Tables and people get the sealed form, which who has the keys opens; bound to its place."""
    await world.keys.fetch(["M1", "M2"], create=True)
    write_schemas(tmp_path)
    codec = Codec([*world.events._own], member.events, format=format, sealer=world.keys)
    data, kept = codec.write(Joined(Known(CANARY), None, ""), PLACE)
    assert kept == Joined(Known(CANARY), None, "")
    assert not has_canary(data)
    assert codec.decode(data, PLACE) == (kept,)
    [closed] = Codec([*world.events._own], member.events, format=format).decode(data, PLACE)
    with pytest.raises(NotOpened):
        _ = closed.name.value
    assert opened(closed.name.sealed, world.keys) == Known(CANARY)
    [(_, shown)] = codec.decode_to_builtins(data, PLACE)
    assert not has_canary(msgspec.json.encode(shown))
    assert opened(sealed_of(shown["name"]["sealed"]), world.keys) == Known(CANARY)
    row = StoredEvent(RecordedEvent("M1", 1, "Joined", data, "c"), 1, 0, now())
    [entry] = entries(codec, "member:0", [row])
    assert entry["data"]["name"] == shown["name"]
    with pytest.raises(ValueError, match="another place"):
        codec.decode(data, Place("M1", 2))


async def test_rows_keep_what_is_personal_sealed(world: World) -> None:
    """A projection passes on what it cannot look at; the row says what who has the keys opens."""
    await world.send(("M1", "Join", JOIN))
    [stored] = await world.journal.events("member", "M1")
    [event] = world.events.decode(stored.event.data, PLACE, closed=True)
    published = PublishedEvent(event, "Joined", "M1", 1, "", "member:0", 1, 0)
    members = Projection("members", 1, "member", lambda row, key, it: {"id": key, "name": it.event.name, "of": []})
    row = members.after(None, "M1", published)
    assert row is not None
    assert not has_canary(msgspec.json.encode(row))
    assert opened(sealed_of(row["name"]["sealed"]), world.keys) == Known(CANARY)


async def test_without_keys_nothing_is_written(world: World) -> None:
    """A codec that has no keys, or no place, writes nothing in the clear."""
    bare = Codec([*world.events._own], member.events)
    for codec, place in ((bare, PLACE), (world.events, None)):
        with pytest.raises(ValueError, match="no keys to seal them with"):
            codec.write(Joined(Known(CANARY), None, ""), place)
    with pytest.raises(KeysNeeded):
        world.events.write(Joined(Known(CANARY), None, ""), PLACE)


async def test_text_of_a_version_without_the_mark_is_read(world: World, tmp_path: Path) -> None:
    """What was written in the clear before is read as it is, and hidden with the person's key."""
    fields = [{"name": "name", "type": "string", "doc": "Name."}]
    folder = tmp_path / "old" / "member"
    folder.mkdir(parents=True)
    record = {"type": "record", "name": "Greeted", "namespace": "club.member", "doc": "It.", "fields": fields}
    (folder / "Greeted.v1.avsc").write_text(json.dumps(record))
    [old] = Schemas.load(tmp_path / "old", "member")
    world.events.add(old.fingerprint, old.json)
    data = AVRO.writer(old)({"name": "Ada"})
    await world.keys.fetch(["M1"])
    [event] = world.events.decode(data, PLACE)
    assert event.name == Known("Ada")
    await world.keys.erase("M1")
    await world.keys.fetch(["M1"])
    [event] = world.events.decode(data, PLACE)
    assert event.name == Erased()


def test_a_state_with_a_value_that_no_event_holds_has_no_snapshot() -> None:
    """Only what an event holds sealed is kept of a state."""
    with pytest.raises(ValueError, match="no event holds"):
        form_of(member).encode(State(Known(CANARY)), {})
