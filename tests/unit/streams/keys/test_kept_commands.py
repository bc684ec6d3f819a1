"""A command that says what is personal is kept sealed, wherever it is kept: in dead letters, and while it waits."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from aggregates.personal import Blinding
from streams.deciding.command_handler import CommandHandler
from streams.deciding.messages import Message
from streams.deciding.orders import RELEASE
from streams.deciding.personal_commands import SEALED_FOR, CannotOpen, is_sealed, open_kept
from streams.journal.port import Commit
from streams.limits import Limits
from streams.moments import now
from streams.ownership.replies import Replies
from tests.unit.streams.keys import club
from tests.unit.streams.keys.test_sealed_events import CANARY, JOIN, World, has_canary

Record = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]


class Letters:
    """A broker of which only the dead letters are looked at."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    async def largest(self, topic: str) -> int:
        return 1_000_000

    async def publish(self, topic: str, partition: int, records: Sequence[Record]) -> int:
        self.records += records
        return 0


class Failing(World):
    """A club whose domain raises over whoever wants to join, and says his name, as long as it `is_broken`."""

    def __init__(self, folder: Path, quarantine: bool) -> None:
        super().__init__(folder)
        self.is_broken = True
        self.broker = Letters()
        self.commits: list[Commit] = []
        self.commands = CommandHandler(
            decider=replace(club.member, decide=self.decide),
            events=self.events,
            commands=club.codecs(folder, self.keys)[1],
            window=10,
            limits=Limits(quarantine=quarantine),
        )
        self.handler = self.new_handler()
        self.replies = Replies(self.broker, "commits", "commands", "letters", personal=self.commands.personal)  # type: ignore[arg-type]

    def decide(self, command: club.Join | club.Greet, state: club.State) -> list[club.Joined | club.Greeted]:
        if self.is_broken and isinstance(command, club.Join):
            raise ValueError(f"nobody is called {command.name}")
        return club.decide(command, state)

    async def say(self, id: str, key: str | bytes, type: str, data: str | bytes) -> list[dict[str, Any]]:
        """Decide one command, in as many commits as it takes. Returns the replies."""
        value, name = data.encode() if isinstance(data, str) else data, key.encode() if isinstance(key, str) else key
        offset = self.head.slices[0].offset + 1
        message = Message(0, offset, name, value, [("ce_type", type.encode()), ("ce_id", id.encode())], 1.0)
        replies: list[dict[str, Any]] = []
        while self.head.slices[0].offset < offset:
            group = await self.handler.decide_group([message], self.head)
            await self.replies.dead_letters(group.dead_letters)
            self.head = Commit("member@0", group.nr, 1, "a", "topic", group.slices, group.nr - 1, now(), group.events)
            self.commits.append(self.head)
            await self.journal.append(self.head)
            await self.journal.derive([self.head])
            self.handler.settle(group.nr)
            replies += [msgspec.to_builtins(it.reply) for it in group.verdicts if it.reply]
        return replies

    @property
    def is_clean(self) -> bool:
        """Whether nothing that is kept has the name in it."""
        return not has_canary(msgspec.msgpack.encode([self.commits, self.broker.records]))


async def opened(world: Failing, letter: Record) -> bytes | None:
    key, value, headers = letter
    return await open_kept(world.keys, "member", key, value, headers)


async def test_a_dead_letter_is_sealed_and_says_again_what_it_was(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The name stands neither in the letter, nor in why it failed, nor in the log; who has the keys opens it, while
    nobody of whom it speaks was forgotten."""
    world = Failing(tmp_path, quarantine=False)
    [reply] = await world.say("c1", "M1", "Join", JOIN)
    assert ("failed", {"type": "DomainError", "message": "ValueError"}) == (reply["status"], reply["error"])
    [letter] = world.broker.records
    said = dict(letter[2])
    assert ["M1", "M2"] == json.loads(said[SEALED_FOR])
    assert b"test_kept_commands.py" in said["dl_trace"], "where it raised is said"
    assert world.is_clean
    assert not has_canary(caplog.text.encode())
    assert "ValueError" in caplog.text
    assert JOIN.encode() == await opened(world, letter)
    for subject in ("M2", "M1"):
        await world.keys.erase(subject)
        with pytest.raises(CannotOpen, match="was forgotten"):
            await opened(world, letter)


async def test_what_nobody_can_be_told_of_is_not_kept(tmp_path: Path) -> None:
    """Of a command without a readable key, and of one that speaks of who was forgotten before, only that it came is
    kept."""
    world = Failing(tmp_path, quarantine=False)
    await world.say("c1", b"\xff", "Join", JOIN)
    await world.keys.erase("M1")
    await world.say("c2", "M1", "NoSuchCommand", JOIN)
    assert [b"", b""] == [value for _, value, _ in world.broker.records]
    for letter in world.broker.records:
        with pytest.raises(CannotOpen, match="was not kept"):
            await opened(world, letter)
    assert world.is_clean


async def test_a_sender_cannot_say_that_it_is_sealed(tmp_path: Path) -> None:
    """What stands in a letter is what came, whatever headers a sender invents."""
    world = Failing(tmp_path, quarantine=False)
    offset = world.head.slices[0].offset + 1
    headers = [("ce_type", b"Join"), ("ce_id", b"c1"), (SEALED_FOR, b'["M7"]')]
    group = await world.handler.decide_group([Message(0, offset, b"M1", JOIN.encode(), headers, 1.0)], world.head)
    await world.replies.dead_letters(group.dead_letters)
    [letter] = world.broker.records
    assert [b'["M1","M2"]'] == [value for name, value in letter[2] if name == SEALED_FOR]
    assert JOIN.encode() == await opened(world, letter)


async def test_who_waits_in_quarantine_waits_sealed(tmp_path: Path) -> None:
    """A command that waits stands sealed in the journal; released it is decided as it came. That of somebody who was
    forgotten meanwhile is rejected, and holds nobody up."""
    world = Failing(tmp_path, quarantine=True)
    await world.say("poison", "M1", "Join", JOIN)
    assert [] == await world.say("w1", "M1", "Join", json.dumps({"name": CANARY}))
    assert [] == await world.say("w2", "M1", "Join", json.dumps({"name": CANARY, "friend": CANARY, "friend_id": "M9"}))
    assert [] == await world.say("w3", "M1", "Greet", "{}")
    aggregate = await world.handler.look("M1")
    assert aggregate.quarantine is not None
    assert "ValueError" == aggregate.quarantine.reason.message
    assert all(is_sealed(it.message.headers) for it in aggregate.quarantine.waiting)
    assert world.is_clean
    await world.keys.erase("M9")
    world.is_broken = False
    world.handler = world.new_handler()  # a new owner, which has nothing in memory
    world.keys.drop(["M1", "M2", "M9"])
    replies = await world.say("go", "M1", RELEASE, "{}")
    found = {it["command_id"]: (it["status"], it["error"] and it["error"]["type"]) for it in replies}
    assert {"w1": ("accepted", None), "w2": ("rejected", "SubjectErased"), "w3": ("accepted", None),
            "go": ("accepted", None)} == found  # fmt: skip
    assert (await world.state("M1")).greetings == 1
    assert world.is_clean


async def test_what_a_command_said_cannot_be_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The digest by which a repeated command is known has a key; one from before is known without it."""
    world = Failing(tmp_path, quarantine=False)
    world.is_broken = False
    await world.say("before", "M1", "Join", JOIN)
    monkeypatch.setattr(Blinding, "key", b"of the namespace")
    await world.say("since", "M2", "Join", JOIN)
    unkeyed, keyed = (commit.events[-1].command for commit in world.commits)
    assert unkeyed != keyed
    for id, key in (("before", "M1"), ("since", "M2")):
        [again] = await world.say(id, key, "Join", JOIN)
        assert ("accepted", 1) == (again["status"], again["aggregate"]["sequence"])
        [other] = await world.say(id, key, "Join", json.dumps({"name": "Eve"}))
        assert "IdUsedBefore" == other["error"]["type"]
