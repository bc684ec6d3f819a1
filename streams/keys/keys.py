"""The keys of persons in one process: fetched in batches, kept for a lease, and nowhere else.

| a key is | then |
|---|---|
| new | made and inserted, and nothing is sealed with it |
| living | used; every week it is wrapped anew, by the key of the new period |
| erased | gone: what it sealed is read as `Erased`, and nothing more is sealed for the subject |
| allowed | as erased, but the next use makes another one, with the next number |

A key is used only once it is living, and becomes so only after its period was seen to be current behind its insertion.
A period is closed before its keys are looked through. So one that is inserted late is either seen by who looks them
through, or finds its period closed: no key is left behind under a period's key that is destroyed.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from msgspec.structs import replace

from aggregates.personal import Sealed
from schemas.sealing import SEALED, KeysNeeded, Place, SubjectIsErased
from streams.concurrency.retry import until_it_answers
from streams.journal.port import Unavailable
from streams.keys import envelope
from streams.keys.fences import Fences, may_create_keys
from streams.keys.management.port import KeyDestroyed, KeyManagement
from streams.keys.opening import keys_setting, keys_url, open_key_management, open_key_rows
from streams.keys.port import KeyRow, KeyRows
from streams.keys.records import (
    BLIND,
    CURRENT,
    SUBJECT,
    Current,
    Period,
    SubjectKey,
    decode_current,
    decode_period,
    decode_subject,
    encode,
    fingerprint,
    new_key,
    period_id,
    subject_id,
    unwrap,
    wrap,
)
from streams.moments import now
from streams.settings import Settings

log = logging.getLogger(__name__)

AT_ONCE = 64
SWEEPS_A_LEASE = 4
"""So often in the time of a lease it is looked what is to be out of memory."""
ATTEMPTS = 20
"""Of a conditional write that others get in the way of; each of them has got something done."""


class KeyLost(Unavailable):
    """A key cannot be unwrapped although nobody has erased it: keys and key management do not belong together."""


@dataclass(slots=True)
class _Held:
    """A key in this process: `cipher` is None where there is none; `until` on the monotonic clock; `header` is what its
    envelopes begin with."""

    number: int
    erased: bool
    cipher: AESGCM | None
    until: float
    header: bytes


@dataclass(frozen=True)
class Renewal:
    """What a renewal has done: the new period, how many keys it wrapped anew, and when the old ones are dead."""

    period: int
    wrapped: int
    dead: datetime | None
    destroyed: list[int] = field(default_factory=list)


class Keys(Fences):
    """The keys of a namespace, and the `Sealer` of its codecs.

    `seal` and `open` do not wait: they raise `KeysNeeded`, and `fetch` gets what is needed. The store is opened at the
    first use, and made there where `may_create`.
    """

    def __init__(
        self,
        rows: KeyRows,
        management: KeyManagement,
        namespace: str = "",
        *,
        lease: float = 60.0,
        most: int = 50_000,
        period: timedelta = timedelta(days=7),
        may_create: bool = True,
    ) -> None:
        super().__init__(rows, period=period, may_create=may_create)
        self.management = management
        self.namespace = namespace
        self.lease = lease
        self._most = most
        self._held: dict[str, _Held] = {}
        self._periods: dict[int, tuple[AESGCM, float]] = {}
        self._at_once = asyncio.Semaphore(AT_ONCE)
        self.fetched = 0
        """Keys that were fetched, for tests and figures."""

    @classmethod
    def of(cls, settings: Settings) -> Keys:
        """The keys of the settings. Raises `SettingsError`."""
        url = keys_url(settings)
        management = open_key_management(settings)
        if not settings.key_management:
            log.info("personal data: KEY_MANAGEMENT is not set, so its keys are %s: for development only", management)
        return cls(
            open_key_rows(url, settings.namespace, keys_setting(settings)),
            management,
            settings.namespace,
            lease=settings.key_lease_seconds,
            most=settings.key_cache,
            period=timedelta(days=settings.key_days),
            may_create=may_create_keys(settings),
        )

    async def close(self) -> None:
        """Forget all keys, and let go of connections."""
        self._held.clear()
        self._periods.clear()
        if self._is_open:
            await super().close()
            await self.management.close()

    # -- sealing and opening: nothing here waits -----------------------------------------------------------------------

    def seal(self, type: str, place: Place, field: str, subject: str, value: str) -> bytes:
        held = self._held.get(subject)
        if held is None or held.until < time.monotonic() or (held.cipher is None and not held.erased):
            raise KeysNeeded([subject], create=True)
        if held.cipher is None:
            raise SubjectIsErased(subject)
        bound = envelope.bound(self.namespace, type, place.id, place.sequence, field)
        return envelope.sealed(held.cipher, held.header, value.encode(), bound)

    def unseal(self, sealed: Sealed) -> str | None:
        held = self._held.get(sealed.subject)
        if held is None or held.until < time.monotonic():
            raise KeysNeeded([sealed.subject])
        type, id, sequence, field, _, raw = sealed
        if held.erased:
            return None
        if held.cipher is None or raw[:6] != held.header:
            if raw[:1] != SEALED:
                return raw.decode()  # of a version without the mark
            if (number := envelope.number_of(raw)) < held.number:
                return None
            raise ValueError(f"there is no key {number} of the subject: are these the keys of this journal?")
        bound = envelope.bound(self.namespace, type, id, sequence, field)
        try:
            return envelope.opened(held.cipher, raw, bound).decode()
        except InvalidTag:
            raise ValueError("it was sealed at another place, or by another key") from None

    # -- keys ----------------------------------------------------------------------------------------------------------

    def cold(self, subjects: Iterable[str]) -> list[str]:
        """Those of which nothing is held here, or for too long."""
        at = time.monotonic()
        return [subject for subject in subjects if (held := self._held.get(subject)) is None or held.until < at]

    async def fetch(self, subjects: Collection[str], create: bool = False) -> None:
        """Get the keys of subjects, for a lease; with `create` those are made that are not there. Raises `Unavailable`,
        and what the key management raises."""
        await self.open()
        ids = {subject_id(subject): subject for subject in subjects}
        until = time.monotonic() + self.lease  # from before the reading on
        rows = await self._rows.get(ids)
        await asyncio.gather(*(self._take(subject, rows.get(id), create, until) for id, subject in ids.items()))
        self.fetched += len(ids)
        while len(self._held) > self._most:
            del self._held[next(iter(self._held))]

    @property
    def held(self) -> Collection[str]:
        """The subjects of which a key, or that there is none, is in memory."""
        return self._held.keys()

    def expire(self) -> None:
        """Have keys out of memory whose lease is over."""
        at = time.monotonic()
        for subject in [subject for subject, held in self._held.items() if held.until < at]:
            del self._held[subject]
        for number in [number for number, (_, until) in self._periods.items() if until < at]:
            del self._periods[number]

    async def fetch_needed(self, needed: KeysNeeded) -> None:
        """What a `KeysNeeded` asks for."""
        await self.fetch(needed.subjects, needed.create)

    def drop(self, subjects: Iterable[str]) -> None:
        """Forget the keys of these here, whatever their lease."""
        for subject in subjects:
            self._held.pop(subject, None)

    async def _take(self, subject: str, row: KeyRow | None, create: bool, until: float) -> None:
        async with self._at_once:
            id = subject_id(subject)
            key, secret = await self._settled(id, row, create)
            self._held.pop(subject, None)  # to the end of the line
            erased = key is not None and key.state in ("erased", "allowed")
            number = key.number if key is not None else 0
            self._held[subject] = _Held(
                number, erased, AESGCM(secret) if secret else None, until, envelope.header(number)
            )

    async def _settled(self, id: str, row: KeyRow | None, create: bool) -> tuple[SubjectKey | None, bytes]:
        """The key of a row, living, and in the clear; none where it has none. Raises `Unavailable`."""
        for _ in range(ATTEMPTS):
            key = decode_subject(row.value) if row is not None else None
            if key is None or key.state == "allowed":
                if not create:
                    return key, b""
                row = await self._inserted(id, row, key)
            elif key.state == "erased":
                return key, b""
            elif key.state == "living":
                return key, await self._unwrapped(id, key)
            else:
                assert row is not None
                row = await self._enlivened(id, row, key)
        raise Unavailable("a key changes all the time")

    async def _inserted(self, id: str, row: KeyRow | None, former: SubjectKey | None) -> KeyRow:
        period, cipher = await self._current()
        secret, number = new_key(), former.number + 1 if former is not None else 1
        wrapped = wrap(cipher, secret, id, number)
        erasures = former.erasures if former is not None else 0
        key = SubjectKey(number, "new", period, wrapped, fingerprint(secret), now(), erasures=erasures)
        if row is None:
            return await self._rows.insert(id, encode(key))
        return await self._rows.replace(id, row.version, encode(key)) or row

    async def _enlivened(self, id: str, row: KeyRow, key: SubjectKey) -> KeyRow | None:
        """A key is used from now on, if its period is current still, behind its insertion; else it gets another one."""
        period = await self._period_row(key.period)
        if period is not None and decode_period(period.value).state == "current":
            changed = replace(key, state="living")
        else:
            number, cipher = await self._current()
            secret = new_key()  # nothing is sealed with the other one
            wrapped = wrap(cipher, secret, id, key.number)
            changed = replace(key, period=number, wrapped=wrapped, fingerprint=fingerprint(secret))
        return await self._rows.replace(id, row.version, encode(changed))

    async def _unwrapped(self, id: str, key: SubjectKey) -> bytes:
        try:
            return unwrap(await self._cipher(key.period), key.wrapped, id, key.number)
        except (KeyDestroyed, ValueError) as error:
            raise KeyLost(f"the key of a subject, of period {key.period}, cannot be unwrapped: {error}") from None

    # -- periods -------------------------------------------------------------------------------------------------------

    async def _period_row(self, number: int) -> KeyRow | None:
        return await self._row(period_id(number))

    async def _current(self) -> tuple[int, AESGCM]:
        """The current period, made where there is none yet, and its cipher."""
        row = await self._row(CURRENT)
        if row is None:
            number = await self._begin(1)
            row = await self._rows.insert(CURRENT, encode(Current(number)))
        number = decode_current(row.value).number
        return number, await self._cipher(number)

    async def _begin(self, number: int) -> int:
        """Make a period, unless it is there."""
        if await self._period_row(number) is None:
            name = f"sourced-{self.namespace}{number}-{uuid.uuid4().hex[:12]}".replace("/", "-")
            root = await self.management.create(name)
            period = Period(number, root, await self.management.wrap(root, new_key()), "current", now())
            present = await self._rows.insert(period_id(number), encode(period))
            if decode_period(present.value).root != root:  # another one was first
                await self.management.destroy(root)
        return number

    async def _cipher(self, number: int) -> AESGCM:
        cipher, until = self._periods.get(number, (None, 0.0))
        if cipher is not None and until > time.monotonic():
            return cipher
        row = await self._period_row(number)
        period = decode_period(row.value) if row is not None else None
        if period is None or period.state == "destroyed":
            raise KeyDestroyed(f"the key of period {number} was destroyed")
        until = time.monotonic() + self.lease
        cipher = AESGCM(await self.management.unwrap(period.root, period.wrapped))
        self._periods[number] = cipher, until
        return cipher

    async def renew_if_due(self) -> Renewal | None:
        """Renew when the current period has lasted long enough, or an older one is not destroyed yet."""
        await self.open()
        row = await self._row(CURRENT)
        if row is None:
            return None
        number = decode_current(row.value).number
        present = await self._period_row(number)
        before = await self._period_row(number - 1)
        unfinished = before is not None and decode_period(before.value).state != "destroyed"
        if present is None or (decode_period(present.value).began + self._period > now() and not unfinished):
            return None
        return await self.renew(begin=not unfinished)

    async def renew(self, begin: bool = True) -> Renewal:
        """Begin a new period, wrap what lives by its key, and destroy those before. Safe to repeat, to race, and to be
        cut short: the next one goes on. Without `begin` only what was begun is ended. Raises `Unavailable`."""
        await self.open()
        number, _ = await self._current()
        if begin:
            # The number is that of the very row that is replaced: else one who is late would turn it back.
            row = (await self._rows.get([CURRENT]))[CURRENT]
            number = decode_current(row.value).number
            await self._begin(number + 1)
            changed = await self._rows.replace(CURRENT, row.version, encode(Current(number + 1)))
            number = decode_current((changed or row).value).number
        older = await self._close_before(number)
        if not older:
            return Renewal(number, 0, None)
        cipher = await self._cipher(number)
        wrapped = 0
        async for row in self._rows.all():
            if row.id[:1] in (SUBJECT, BLIND) and row.id != CURRENT:
                wrapped += await self._rewrap(row, number, cipher)
        dead = [await self._destroy(old) for old in older]
        return Renewal(number, wrapped, max(dead), older)

    async def _close_before(self, number: int) -> list[int]:
        """Close all periods before one: no key becomes living under them any more. Returns those not destroyed yet."""
        older: list[int] = []
        for old in range(number - 1, 0, -1):
            row = await self._period_row(old)
            if row is None or decode_period(row.value).state == "destroyed":
                break
            while row is not None and decode_period(row.value).state == "current":
                closing = encode(replace(decode_period(row.value), state="closing"))
                row = await self._rows.replace(row.id, row.version, closing)
            older.append(old)
        return older[::-1]

    async def _rewrap(self, row: KeyRow | None, number: int, cipher: AESGCM) -> int:
        """Wrap one key by that of the newest period. Returns how many were."""
        while row is not None:
            key = decode_subject(row.value)
            if not key.has_key or key.period >= number:
                return 0
            secret = new_key() if key.state == "new" else await self._unwrapped(row.id, key)
            value = encode(
                replace(
                    key,
                    period=number,
                    wrapped=wrap(cipher, secret, row.id, key.number),
                    fingerprint=fingerprint(secret),
                )
            )
            present = await self._rows.replace(row.id, row.version, value)
            if present is not None and present.value == value:
                return 1
            row = present
        return 0

    async def _destroy(self, number: int) -> datetime:
        row = await self._period_row(number)
        assert row is not None, "it was closed"
        period = decode_period(row.value)
        dead = await self.management.destroy(period.root)
        await self._rows.replace(
            row.id, row.version, encode(replace(period, wrapped=b"", state="destroyed", dead=dead))
        )
        self._periods.pop(number, None)
        return dead

    # -- blind ids -----------------------------------------------------------------------------------------------------

    async def blind_key(self, create: bool = True) -> bytes:
        """The key of blind ids, which is made once and stays: see `aggregates.personal.blind`. Empty where there is
        none yet, and it is not to be made here. Raises `Unavailable`."""
        await self.open()
        row = await self._row(BLIND)
        _, secret = await self._settled(BLIND, row, create) if create or row is not None else (None, b"")
        return secret


async def waiting_for(keys: Keys, needed: KeysNeeded) -> None:
    """Get keys, however long store and key management take to answer. Raises `SettingsError`, `JournalMissing`."""
    await until_it_answers(lambda: keys.fetch_needed(needed), "keys", Unavailable)
