"""One consumer group, by Kafka's classic protocol: who is in it, and the rounds in which its leader shares out."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

NO_ERROR, ILLEGAL_GENERATION, INCONSISTENT_PROTOCOL = 0, 22, 23
UNKNOWN_MEMBER, REBALANCING = 25, 27
NO_GENERATION = -1


class State(StrEnum):
    """As Kafka calls them."""

    EMPTY = "Empty"
    PREPARING = "PreparingRebalance"
    COMPLETING = "CompletingRebalance"
    STABLE = "Stable"


class Refused(Exception):
    """`code` is Kafka's number for why."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Joining:
    """What a member says of itself. Times in seconds."""

    client_id: str
    host: str
    session: float
    rebalance: float
    kind: str
    protocols: Mapping[str, bytes]
    """Metadata by the name of a protocol, the one that it likes best first."""


@dataclass(frozen=True)
class Joined:
    """A round that a member is in. `members` have their metadata; the leader alone is told."""

    generation: int
    protocol: str
    leader: str
    member: str
    members: Mapping[str, bytes]


@dataclass
class Member:
    id: str
    says: Joining
    alive_until: float
    joining: asyncio.Future[Joined] | None = None
    """There while it waits for the others."""
    syncing: asyncio.Future[bytes] | None = None
    """There while it waits for the leader."""
    assignment: bytes = b""

    @property
    def waits(self) -> bool:
        return self.joining is not None or self.syncing is not None


@dataclass
class Group:
    """Times are those of `time.monotonic`."""

    name: str
    state: State = State.EMPTY
    generation: int = 0
    kind: str = ""
    protocol: str = ""
    leader: str = ""
    members: dict[str, Member] = field(default_factory=dict)
    _round_ends: float = 0.0
    """Who has not joined again by then is out."""

    async def join(self, id: str, says: Joining) -> Joined:
        """Return when all members have joined again. `id` is empty for a new one. Raises `Refused`."""
        if id and id not in self.members:
            raise Refused(UNKNOWN_MEMBER)
        self._require_in_common(id, says)
        member = self._member(id, says)
        changed = not id or member.says.protocols != says.protocols
        member.says, self.kind = says, says.kind
        if not changed and self._knows_this_round(member):
            return self._joined(member)
        _cancel(member.joining)
        waited_for: asyncio.Future[Joined] = asyncio.get_running_loop().create_future()
        member.joining = waited_for
        self._prepare()
        return await waited_for

    def _member(self, id: str, says: Joining) -> Member:
        if not id:
            id = f"{says.client_id or 'consumer'}-{uuid.uuid4()}"
            self.members[id] = Member(id, says, time.monotonic() + says.session)
        return self.members[id]

    def _knows_this_round(self, member: Member) -> bool:
        """Whether one that joins again asks after the round that there is, since it has missed the answer. A leader
        that joins a stable group wants another round."""
        if self.state == State.STABLE:
            return member.id != self.leader
        return self.state == State.COMPLETING

    def _require_in_common(self, id: str, says: Joining) -> None:
        """Raises `Refused` where the others know none of its protocols."""
        others = [member.says for member in self.members.values() if member.id != id]
        common = set(says.protocols).intersection(*(other.protocols for other in others))
        if not common or any(other.kind != says.kind for other in others):
            raise Refused(INCONSISTENT_PROTOCOL)

    def _prepare(self) -> None:
        """Begin another round, or go on with it."""
        if self.state != State.PREPARING:
            for member in self.members.values():
                if member.syncing is not None and not member.syncing.done():
                    member.syncing.set_exception(Refused(REBALANCING))
                member.syncing = None
            longest = max(member.says.rebalance for member in self.members.values())
            self.state, self._round_ends = State.PREPARING, time.monotonic() + longest
        self._complete()

    def _complete(self) -> None:
        """End the round if everybody has joined."""
        if not self.members:
            self.state, self.protocol, self.leader = State.EMPTY, "", ""
            self.generation += 1
        elif all(member.joining is not None for member in self.members.values()):
            self.state, self.protocol = State.COMPLETING, self._choice()
            self.generation += 1
            if self.leader not in self.members:
                self.leader = next(iter(self.members))
            for member in self.members.values():
                self._touch(member)
                assert member.joining is not None
                if not member.joining.done():
                    member.joining.set_result(self._joined(member))
                member.joining, member.assignment = None, b""

    def _choice(self) -> str:
        """The protocol that most like best, of those that all know."""
        common = set.intersection(*(set(member.says.protocols) for member in self.members.values()))
        votes = Counter(
            next(name for name in member.says.protocols if name in common) for member in self.members.values()
        )
        return votes.most_common(1)[0][0]

    def _joined(self, member: Member) -> Joined:
        is_leader = member.id == self.leader
        members = {it.id: it.says.protocols[self.protocol] for it in self.members.values()} if is_leader else {}
        return Joined(self.generation, self.protocol, self.leader, member.id, members)

    async def sync(self, id: str, generation: int, assignments: Mapping[str, bytes]) -> bytes:
        """What was assigned to a member, as soon as the leader has said so, which gives `assignments`. Raises
        `Refused`."""
        member = self._current(id, generation)
        if self.state == State.PREPARING:
            raise Refused(REBALANCING)
        if self.state == State.STABLE:
            self._touch(member)
            return member.assignment
        _cancel(member.syncing)
        waited_for: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        member.syncing = waited_for
        if id == self.leader:
            self._share_out(assignments)
        return await waited_for

    def _share_out(self, assignments: Mapping[str, bytes]) -> None:
        self.state = State.STABLE
        for member in self.members.values():
            member.assignment = assignments.get(member.id, b"")
            self._touch(member)
            if member.syncing is not None and not member.syncing.done():
                member.syncing.set_result(member.assignment)
            member.syncing = None

    def heartbeat(self, id: str, generation: int) -> None:
        """A member is alive. Raises `Refused`, also where it is to join again."""
        self._touch(self._current(id, generation))
        if self.state == State.PREPARING:
            raise Refused(REBALANCING)

    def leave(self, id: str) -> None:
        """Raises `Refused`."""
        if id not in self.members:
            raise Refused(UNKNOWN_MEMBER)
        self._remove([id])

    def may_commit(self, id: str, generation: int) -> None:
        """Raises `Refused` where one who commits offsets is not who it says."""
        if generation == NO_GENERATION and not id:
            if self.members:
                raise Refused(UNKNOWN_MEMBER)
            return
        self._touch(self._current(id, generation))
        if self.state == State.COMPLETING:
            raise Refused(REBALANCING)

    def expire(self, now: float) -> None:
        """Put out who was silent for too long, and who has not joined again in time."""
        is_over = self.state == State.PREPARING and now > self._round_ends
        gone = [
            member.id
            for member in self.members.values()
            if (is_over and member.joining is None) or (not member.waits and now > member.alive_until)
        ]
        if gone:
            self._remove(gone)

    def forgive(self, seconds: float) -> None:
        """This process stood still for so long, in which it has heard nobody."""
        self._round_ends += seconds
        for member in self.members.values():
            member.alive_until += seconds

    def _remove(self, ids: Sequence[str]) -> None:
        for id in ids:
            if (member := self.members.pop(id, None)) is not None:
                for future in (member.joining, member.syncing):
                    if future is not None and not future.done():
                        future.set_exception(Refused(UNKNOWN_MEMBER))
        if self.state == State.PREPARING or not self.members:
            self._complete()
        else:
            self._prepare()

    def _current(self, id: str, generation: int) -> Member:
        """A member of this round. Raises `Refused`."""
        if id not in self.members:
            raise Refused(UNKNOWN_MEMBER)
        if generation != self.generation:
            raise Refused(ILLEGAL_GENERATION)
        return self.members[id]

    def _touch(self, member: Member) -> None:
        member.alive_until = time.monotonic() + member.says.session


def _cancel(future: asyncio.Future[Joined] | asyncio.Future[bytes] | None) -> None:
    """One that asked before, and has gone since."""
    if future is not None and not future.done():
        future.set_exception(Refused(UNKNOWN_MEMBER))
