"""Three brokers with TLS, logins and rights: tokens end and certificates are renewed under load."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

import pytest

from servers.secured.certificates import Authority
from servers.secured.kafka import SERVER
from tests.brokers.conftest import SecuredRig
from tests.brokers.test_faults import LEADER, PACE, victim

pytestmark = pytest.mark.full

TOKEN_SECONDS = 15


async def start(rig: SecuredRig, settings: dict[str, dict[str, str]]) -> None:
    """Two workers of orders and one of projections, each with the settings of its app's user."""
    for _ in range(2):
        rig.start_orders(**settings["orders"])
    rig.start_projections(**settings["projections"])
    await rig.ready()


async def test_tokens_that_end_while_a_broker_is_killed(secured: SecuredRig) -> None:
    """Tokens are good for 15 s, and somebody renews them: their sessions end again and again, and the leader of a
    command partition is killed in between."""
    rig, site = secured, secured.site
    files = {user: site.folder / f"{user}.token" for user in ("orders", "projections")}

    async def renew() -> None:
        while True:
            for user, file in files.items():
                site.write_token(file, user, TOKEN_SECONDS)
            await asyncio.sleep(TOKEN_SECONDS / 5)

    renewing = asyncio.create_task(renew())
    await asyncio.sleep(0)
    await start(rig, {user: site.bearer(file) for user, file in files.items()})
    times = 4
    async with rig.under_load(f"tokens end every {TOKEN_SECONDS} s, and kill -9 of {LEADER}", times, PACE) as load:
        for number in range(times):
            if number == 1:
                broker = await victim(rig, LEADER)
                await broker.kill()
                await load.served()
                await broker.start()
            await asyncio.sleep(TOKEN_SECONDS)
            await load.served()
        await rig.cluster.whole()
    renewing.cancel()
    assert all(worker.running for worker in (*rig.orders, *rig.projections))


async def test_certificates_renewed_by_another_authority(secured: SecuredRig) -> None:
    """All trust both authorities already. Brokers get certificates of the new one, and are restarted one by one for it;
    workers get theirs, and trust the new one alone in the end, and are not restarted."""
    rig, site = secured, secured.site
    folder = site.folder / "certified"
    folder.mkdir()
    own = {user: folder / f"{user}.pem" for user in ("orders", "projections")}
    trusted, new = folder / "ca.pem", Authority(site.folder / "second")
    both = site.kafka.ca.read_bytes() + new.file.read_bytes()
    _replace(trusted, both)
    _replace(site.kafka.ca, both)
    for broker in rig.cluster.brokers:
        await broker.stop()
    await rig.cluster.start()
    for user, file in own.items():
        shutil.copy(site.kafka.certificate(user), file)
    await start(rig, {user: {**site.certified(file), "KAFKA_CA_FILE": str(trusted)} for user, file in own.items()})
    async with rig.under_load("certificates renewed, by another authority", 1, PACE) as load:
        _replace(site.kafka.certificate(SERVER), new.issue_here(SERVER).read_bytes())
        for user, file in own.items():
            _replace(file, new.issue(user).read_bytes())
        for broker in rig.cluster.brokers:
            await broker.stop()
            await load.served()
            await broker.start()
            await rig.cluster.whole()
        _replace(trusted, new.file.read_bytes())
    assert all(worker.running for worker in (*rig.orders, *rig.projections))


def _replace(file: Path, content: bytes) -> None:
    """In one step, as somebody who renews certificates does."""
    draft = file.with_suffix(".part")
    draft.write_bytes(content)
    draft.replace(file)
