"""Who reads while logs change: one that asks for what its replies say, and those that follow rows and a list."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from projections.http.etags import read_tag
from tests.e2e.client import PARTITIONS, eventually, keys_of, partition_of
from tests.e2e.follower import Follower
from tests.e2e.load import OPEN, Load
from tests.e2e.worker import Worker
from tests.growth.in_order import Place, place_of

ASK_SECONDS = 0.2
RECONNECT_SECONDS = 3.0
PLACED = "/orders?status=placed"
CAUGHT_UP_SECONDS = 60.0


@dataclass
class Reader:
    """Asks for the row of a reply, with the position of that reply, again and again."""

    load: Load
    door: Worker
    answers: int = 0
    too_early: int = 0
    """How often the answer was that the row is not there yet."""
    newest: dict[str, tuple[Place, int]] = field(default_factory=dict)

    async def run(self) -> None:
        """For ever. Fails when a row is older than the reply, or than a row that was seen before."""
        inbox = await self.load.system.answers()
        while True:
            await asyncio.sleep(ASK_SECONDS)
            if inbox.records:
                await self._ask(json.loads(inbox.records[-1].value))

    async def _ask(self, reply: dict[str, object]) -> None:
        aggregate, position = reply["aggregate"], str(reply["position"])
        assert isinstance(aggregate, dict)
        key = str(aggregate["id"])
        status, body, headers = await self.load.system.get(self.door, f"/orders/{key}", At_Least=position)
        if status == 503:
            self.too_early += 1
            return
        assert status == 200, body
        tag = read_tag(headers["ETag"].strip('"'))
        assert tag is not None
        seen = place_of(tag.position, f"order-{partition_of(key)}"), tag.sequence
        asked = (int(position.rpartition(":")[2]), 0), int(aggregate["sequence"])
        assert seen[0] >= asked[0], f"{key}: {seen} is older than {asked}, which was asked for"
        assert seen[1] >= asked[1], f"{key}: {seen} is older than {asked}, which was asked for"
        assert seen >= self.newest.get(key, seen), f"{key}: {seen} is older than what was seen before"
        self.newest[key] = seen
        self.answers += 1


class Streams:
    """Rows, one of each partition, and a list, followed by clients that connect anew every few seconds, where they
    were. Into the list come orders that are placed meanwhile."""

    def __init__(self, load: Load, door: Worker) -> None:
        self._load = load
        self._door = door
        http = load.system.http
        self._keys = [next(key for key in load.keys if partition_of(key) == p) for p in range(PARTITIONS)]
        self._rows = {key: Follower(http, f"{door.url}/orders/{key}") for key in self._keys}
        self._list = Follower(http, door.url + PLACED)
        self.reconnects = 0

    async def run(self) -> None:
        """For ever."""
        placed = [keys_of(partition, "placed-") for partition in range(PARTITIONS)]
        try:
            while True:
                for follower in (*self._rows.values(), self._list):
                    follower.start()
                for number in range(round(RECONNECT_SECONDS / ASK_SECONDS)):
                    await asyncio.sleep(ASK_SECONDS)
                    await self._place(next(iter(placed[number % PARTITIONS])))
                await self._stop()
                self.reconnects += 1
        finally:
            await self._stop()

    async def _place(self, key: str) -> None:
        line = {"sku": "1", "description": "", "quantity": 1, "unit_price": "0.01"}
        for command, data in (("OpenOrder", OPEN), ("AddLine", line), ("PlaceOrder", {})):
            await self._load.send(key, command, dict(data))

    async def _stop(self) -> None:
        await asyncio.gather(*(follower.stop() for follower in (*self._rows.values(), self._list)))

    async def check(self) -> None:
        """Nothing came that is older than what had come, and whoever goes on from there has all in the end."""
        for follower in (*self._rows.values(), self._list):
            follower.start()
        try:
            for key, follower in self._rows.items():
                await self._check_row(key, follower)
            await self._check_list()
        finally:
            await self._stop()

    async def _check_row(self, key: str, follower: Follower) -> None:
        _, row, _ = await self._load.system.get(self._door, f"/orders/{key}")
        await follower.until(lambda events: events[-1].data == row, CAUGHT_UP_SECONDS)
        tags = [read_tag(event.id) for event in follower.events]
        places = [(place_of(tag.position, f"order-{partition_of(key)}"), tag.sequence) for tag in tags if tag]
        assert len(places) == len(follower.events)
        assert places == sorted(set(places)), f"{key}: its changes came in another order"

    async def _check_list(self) -> None:
        listed = await self._listed()

        def heard() -> set[str]:
            found: set[str] = set()
            for event in self._list.events:
                if event.event == "row":
                    found.add(event.data["id"])
                elif event.data:
                    found.discard(event.data["id"])
            return found

        await eventually(lambda: heard() == listed, CAUGHT_UP_SECONDS, lambda: f"{heard() ^ listed}")
        places = [_places(event.id) for event in self._list.events]
        for partition in range(PARTITIONS):
            of_partition = [place[partition] for place in places]
            assert of_partition == sorted(of_partition), f"partition {partition} of the list went back"

    async def _listed(self) -> set[str]:
        found: set[str] = set()
        path = f"{PLACED}&limit=1000"
        while path:
            status, body, _ = await self._load.system.get(self._door, path)
            assert status == 200, body
            found |= {row["id"] for row in body["orders"]}
            path = f"{PLACED}&limit=1000&after={body['next']}" if body.get("next") else ""
        return found


def _places(id: str) -> Sequence[Place]:
    """How far a list is in each partition, by the id of an event."""
    return [place_of(position, f"order-{p}") for p, position in enumerate(id.split(",")[1:])]
