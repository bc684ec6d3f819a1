"""The fences of subjects: what is known of a key, without unwrapping any, and the orders that end or allow one.

Each erasure of a subject has a number. It is put there as often as one likes, and stands where it was put first: who
repeats an order, or does what somebody else was about to do, never ends a key that came after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import datetime, timedelta

from msgspec.structs import replace

from streams.journal.port import JournalMissing
from streams.keys.opening import keys_setting, keys_url, open_key_rows
from streams.keys.port import KeyRow, KeyRows
from streams.keys.records import (
    CURRENT,
    Period,
    SubjectKey,
    decode_current,
    decode_period,
    decode_subject,
    encode,
    period_id,
    subject_id,
)
from streams.moments import now
from streams.settings import Settings, is_here

BY_ORDER = "by order in the log of subjects"
"""Why an erasure was done, where whoever has ordered it has not said so yet: the owner of the subject was first."""


class Fences:
    """The rows of the keys of a namespace, for who has no need of the keys themselves.

    The store is opened at the first use, and made there where `may_create`.
    """

    def __init__(self, rows: KeyRows, *, period: timedelta = timedelta(days=7), may_create: bool = True) -> None:
        self._rows = rows
        self._period = period
        self._may_create = may_create
        self._opening = asyncio.Lock()
        self._is_open = False

    @classmethod
    def of(cls, settings: Settings) -> Fences:
        """Those of the settings, which need no key management. Raises `SettingsError`."""
        url = keys_url(settings)
        rows = open_key_rows(url, settings.namespace, keys_setting(settings))
        return Fences(rows, period=timedelta(days=settings.key_days), may_create=may_create_keys(settings))

    async def open(self) -> None:
        """Connect, and make what is missing where that is allowed. Cheap to repeat. Raises `Unavailable`,
        `JournalMissing`, `SettingsError`."""
        async with self._opening:
            if self._is_open:
                return
            try:
                await self._rows.open()
            except JournalMissing:
                if not self._may_create:
                    raise
                await self._rows.create()
                await self._rows.open()
            self._is_open = True

    async def set_up(self) -> bool:
        """Make what the keys are kept in, and whether it was missing. Raises as `open` does."""
        try:
            await self._rows.open()
        except JournalMissing:
            await self._rows.create()
            return True
        await self._rows.close()
        return False

    async def close(self) -> None:
        """Let go of connections."""
        async with self._opening:
            if self._is_open:
                self._is_open = False
                await self._rows.close()

    def drop(self, subjects: Iterable[str]) -> None:
        """Forget the keys of these here, whatever their lease."""

    async def look(self, subject: str) -> SubjectKey | None:
        """What is known of a subject's key, which stays wrapped; None where there never was one. Raises
        `Unavailable`."""
        await self.open()
        row = await self._row(subject_id(subject))
        return None if row is None else decode_subject(row.value)

    async def erase(self, subject: str, reason: str = "", erasure: int | None = None) -> SubjectKey:
        """Put the fence in the place of a subject's key, or where it would be. Safe to repeat: the first one stays, and
        gets the reason of who has ordered it, where the owner of the subject was quicker.

        `erasure` says which one it is; where that was done already nothing is, whatever came after it. Raises
        `Unavailable`; the outcome is open then, and it is to be asked again.
        """
        await self.open()
        id = subject_id(subject)
        row = await self._row(id)
        while True:
            key = decode_subject(row.value) if row is not None else SubjectKey(0, "allowed", 0, b"", b"", now())
            if key.state == "erased" or (erasure is not None and key.erasures >= erasure):
                if row is None or reason == BY_ORDER or not _lacks_reason(key, erasure):
                    self.drop([subject])
                    return key
                changed = replace(key, reason=reason)
            else:
                changed = replace(
                    key, state="erased", period=0, wrapped=b"", at=now(), reason=reason, erasures=key.erasures + 1
                )
            value = encode(changed)
            row = await (self._rows.insert(id, value) if row is None else self._rows.replace(id, row.version, value))

    async def allow(self, subject: str, reason: str = "") -> SubjectKey | None:
        """Let an erased subject have another key, with the next number. What was erased stays so. None where there
        never was a key. Raises `Unavailable`."""
        await self.open()
        id = subject_id(subject)
        row = await self._row(id)
        while row is not None:
            key = decode_subject(row.value)
            if key.state != "erased":
                self.drop([subject])
                return key
            row = await self._rows.replace(
                id, row.version, encode(replace(key, state="allowed", at=now(), reason=reason))
            )
        return None

    async def dead_by(self, since: datetime | None = None) -> datetime | None:
        """By when no copy of a key that was erased `since` then, or is now, can be unwrapped any more, should the next
        renewal be in time; None before the first key. With AWS seven days later. Raises `Unavailable`."""
        await self.open()
        newest = await self._newest()
        if newest is None:
            return None
        number, began = newest[0], newest[1].began
        former = await self._period_of(number - 1)
        if since is not None and since < began and former is not None and former.state == "destroyed":
            return former.dead
        return began + self._period

    async def period_began(self) -> datetime | None:
        """Since when the newest period is; None before the first key. Raises `Unavailable`."""
        await self.open()
        newest = await self._newest()
        return None if newest is None else newest[1].began

    async def _newest(self) -> tuple[int, Period] | None:
        """The newest period, with its number; None before the first key."""
        current = await self._row(CURRENT)
        if current is None:
            return None
        number = decode_current(current.value).number
        period = await self._period_of(number)
        return None if period is None else (number, period)

    async def _period_of(self, number: int) -> Period | None:
        row = await self._row(period_id(number))
        return None if row is None else decode_period(row.value)

    async def _row(self, id: str) -> KeyRow | None:
        return (await self._rows.get([id])).get(id)


def _lacks_reason(key: SubjectKey, erasure: int | None) -> bool:
    """Whether this very erasure stands, and nobody has said why."""
    return key.state == "erased" and key.reason == BY_ORDER and erasure in (None, key.erasures)


def may_create_keys(settings: Settings) -> bool:
    """Whether a worker may make what the keys are kept in."""
    return settings.setup == "always" or (
        settings.setup == "auto" and is_here(keys_url(settings), keys_setting(settings))
    )
