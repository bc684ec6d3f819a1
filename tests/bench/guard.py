"""How a worker of ours stands beside Faust's bare intake of the same messages, in a short run of both in turn."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.bench.space import bare_intake, orders_worker
from tests.bench.worker import say

ORDERS, COUNT, ROUNDS = 1_000, 15_000, 3


@dataclass
class Beside:
    """What each round gave: messages a second, and the worker's processor time for each, microseconds."""

    our_rates: list[float] = field(default_factory=list)
    our_costs: list[float] = field(default_factory=list)
    bare_rates: list[float] = field(default_factory=list)
    bare_costs: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Our best rate, to the best of the bare intake."""
        return max(self.our_rates) / max(self.bare_rates)

    @property
    def cost(self) -> float:
        """Our least cost, to the least of the bare intake."""
        return min(self.our_costs) / min(self.bare_costs)

    def __str__(self) -> str:
        """All of it, for people."""

        def shown(figures: list[float]) -> str:
            return ", ".join(f"{figure:,.0f}" for figure in figures)

        return (
            f"rate {self.rate:.2f} of the bare intake's, cost {self.cost:.2f} of its: "
            f"{shown(self.our_rates)} commands/s beside {shown(self.bare_rates)} messages/s, "
            f"{shown(self.our_costs)} us a command beside {shown(self.bare_costs)} us a message"
        )


async def measure_beside() -> Beside:
    """A round of commands and a bare intake of as many messages of the same topic, in turn. One round of commands more
    comes first, and does not count."""
    found = Beside()
    async with orders_worker(ORDERS) as (space, load, running):
        await load.round(COUNT)
        for _ in range(ROUNDS):
            used = running.cpu_seconds()
            found.our_rates.append((await load.round(COUNT)).rate)
            found.our_costs.append((running.cpu_seconds() - used) / COUNT * 1e6)
            rate, cost = await bare_intake(space, load.topic, COUNT)
            found.bare_rates.append(rate)
            found.bare_costs.append(cost)
    say(str(found))
    return found
