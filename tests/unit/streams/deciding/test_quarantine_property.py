"""Any sequence of good and bad commands, releases and restarts, and what must hold of it."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streams.deciding.orders import RELEASE
from streams.journal.port import Commit
from streams.limits import Limits
from tests.unit.ledgers import Ledgers

COMMANDS = [*["Post"] * 6, *["PostBadly"] * 3, "Nothing", "Refuse"]
ACTS = ["retry", "release", "repeat", "repeat", "settle", "restart", "restart", "mend", "break"]
STEPS = st.lists(
    st.tuples(st.sampled_from(COMMANDS + ACTS), st.sampled_from("aab"), st.integers(0, 9)), min_size=20, max_size=60
)
OUTCOMES = {
    "Post": {"accepted"},
    "Nothing": {"accepted"},
    "Refuse": {"Refused"},
    "PostBadly": {"accepted", "DomainError"},
}


async def _takes_a_while(commit: Commit) -> None:
    await asyncio.sleep(0)


class Run:
    """One sequence: `sent` has the type, ledger and amount of each command by id, in order."""

    def __init__(self, group: int) -> None:
        self.it = Ledgers(Limits(group_commands=group, group_linger=0, quarantine=True, snapshot_every=3))
        self.sent: dict[str, tuple[str, str, int]] = {}
        self.poison: defaultdict[str, list[str]] = defaultdict(list)
        self.controls = 0

    def _command(self, type: str, ledger: str) -> None:
        amount = len(self.sent)
        data: dict[str, Any] = {"amount": amount} if "Post" in type else {}
        id = self.it.write(ledger, type, f"{type}-{amount}", **data)
        self.sent[id] = (type, ledger, amount)

    def _repeat(self, id: str) -> None:
        type, ledger, amount = self.sent[id]
        self.it.write(ledger, type, id, **({"amount": amount} if "Post" in type else {}))

    async def _quarantined_for(self, ledger: str) -> str | None:
        await self.it.settled()
        quarantine = (await self.it.loaded(ledger)).quarantine
        return quarantine.poison if quarantine is not None else None

    async def step(self, what: str, ledger: str, ticks: int) -> None:
        """Do one thing, as a sender or an operator would; `ticks` is how far the owner gets before a restart."""
        it = self.it
        match what:
            case "mend" | "break":
                await it.settled()
                it.mended = what == "mend"
            case "settle":
                await it.settled()
            case "restart":
                await it.feed()
                for _ in range(ticks):
                    await asyncio.sleep(0)
                await it.crash()
                it.journal.on_append = _takes_a_while
            case "repeat":
                mine = [id for id, (_, of, _) in self.sent.items() if of == ledger]
                if mine:
                    self._repeat(mine[0])
            case "retry":
                poison = await self._quarantined_for(ledger)
                if poison is not None:
                    it.again(poison)
            case "release":
                await self._release(ledger)
            case _:
                self._command(what, ledger)

    async def _release(self, ledger: str) -> None:
        self.controls += 1
        self.it.write(ledger, RELEASE, f"control-{self.controls}")

    async def finish(self) -> None:
        """Mend the bug, and let all that wait go on."""
        await self.it.settled()
        self.it.mended = True
        for ledger in "ab":
            poison = await self._quarantined_for(ledger)
            if poison is not None:
                self.it.again(poison)
        await self.it.settled()
        for id in [id for id in self.sent if not self.it.outbox.to(id)]:  # answered in vain, by one that crashed
            self._repeat(id)
        await self.it.settled()

    async def check(self) -> None:
        """Nobody waits; each command has its outcome and at most one effect; the log is as it must be."""
        it = self.it
        effects: defaultdict[str, list[int]] = defaultdict(list)
        sequences: defaultdict[str, int] = defaultdict(int)
        offset = -1
        for commit in it.log:
            assert commit.slices[0].offset >= offset
            offset = commit.slices[0].offset
            for row in commit.events:
                sequences[row.aggregate_id] += row.is_event
                assert sequences[row.aggregate_id] == row.sequence
                if row.is_event:
                    effects[row.command_id].append(commit.nr)
        assert len(it.topic) - 1 == offset
        for id, (type, _, _) in self.sent.items():
            told = set(it.outbox.to(id))
            assert told, f"{id} was never answered"
            assert told <= OUTCOMES[type]
            assert len(effects[id]) == ("Post" in type and "accepted" in told)
            accepted = [str(reply) for reply in it.outbox.replied if reply["command_id"] == id and not reply["error"]]
            assert len(set(accepted)) <= 1, "an accepted command has one reply"
        for ledger in "ab":
            aggregate = await it.loaded(ledger)
            assert aggregate.quarantine is None
            # A retried command may come after its time when another was released before; all others are in order.
            posted = [amount for amount in aggregate.state.posted if f"Post-{amount}" in self.sent]
            assert sorted(posted) == posted
            mine = {amount for type, of, amount in self.sent.values() if (type, of) == ("Post", ledger)}
            assert mine == set(posted)
        known = it.owner.handler.cache
        for ledger in "ab":
            warm, cold = known.take(ledger), await it.loaded(ledger)
            if warm is not None:
                assert (cold.state, cold.sequence, cold.outcomes) == (warm.state, warm.sequence, warm.outcomes)


@settings(max_examples=60)
@given(steps=STEPS, group=st.sampled_from([1, 2, 3, 50]))
def test_every_command_has_one_outcome_and_its_place(steps: list[tuple[str, str, int]], group: int) -> None:
    """Whatever is sent, retried, released, repeated or restarted: each command ends with one outcome, in order."""

    async def run() -> None:
        it = Run(group)
        await it.it.take_over()
        it.it.journal.on_append = _takes_a_while
        try:
            for step in steps:
                await it.step(*step)
            await it.finish()
            await it.check()
        finally:
            await it.it.close()

    with pytest.MonkeyPatch.context() as quick:
        quick.setattr("streams.ownership.derivation.LINGER_SECONDS", 0.002)  # most of the time it would wait for that
        asyncio.run(run())
