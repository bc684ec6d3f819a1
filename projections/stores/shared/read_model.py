"""The database in which an app keeps what all its workers share: opened beside everything else, and waited for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence

from projections.stores.declaration import ReadModelRows, Table, projection_name
from projections.stores.shared.opening import READ_MODEL, open_rows
from streams.cli.run import ERROR, USAGE, CliError
from streams.concurrency.tasks import cancel
from streams.journal.grants import read_model_grants
from streams.journal.port import JournalMissing, NotPermitted, Unavailable
from streams.open_journal import database_of
from streams.runtime.application import Application
from streams.runtime.part import Part
from streams.runtime.preparation import journal_answers, may_create, stop_on_user_error
from streams.runtime.rights import Rights
from streams.settings import SettingsError

log = logging.getLogger(__name__)


class ReadModel(Part):
    """Of the `tables` that are kept in it; where there are none it is left alone."""

    def __init__(self, app: Application, tables: Sequence[Table]) -> None:
        self._app = app
        self._listings = {table.name: table.how.listings for table in tables if isinstance(table.how, ReadModelRows)}
        self._url = url = app.settings.read_model_url or app.settings.journal_url
        self.database = open_rows(
            url, app.settings.namespace, listings=lambda table: self._listings.get(projection_name(table), ())
        )
        self._may_create = may_create(app.settings, url)
        self._opening: asyncio.Task[None] | None = None

    @property
    def is_used(self) -> bool:
        """Whether a table is kept in it."""
        return bool(self._listings)

    @property
    def rights(self) -> Rights:
        setting = "READ_MODEL_URL" if self._app.settings.read_model_url else "JOURNAL_URL"
        database = database_of(self._url, self._app.settings.namespace, READ_MODEL, setting) if self.is_used else None
        return Rights(grants=frozenset(read_model_grants(database)) if database is not None else frozenset())

    async def start(self) -> None:
        """Open it now, or as soon as it answers: until then its tables fall behind, and the others go on."""
        if not self.is_used:
            return
        try:
            with stop_on_user_error():
                await self._open()
        except Unavailable as error:
            log.warning("read model: %s: its tables wait for it", error)
            self._opening = self._app.supervisor.keep("opening the read model", self._open_in_the_end)

    async def _open(self) -> None:
        try:
            await self.database.open()
        except JournalMissing:
            if not self._may_create:
                raise
            await self.database.create()
            await self.database.open()

    async def _open_in_the_end(self) -> None:
        with stop_on_user_error():
            await journal_answers(self._open, "read model")

    async def stop(self) -> None:
        if self._opening is not None:
            await cancel(self._opening)
        await self.database.close()

    async def set_up(self) -> AsyncIterator[str]:
        """Make its tables where they are missing. Raises `CliError`."""
        try:
            await self.database.create()
        except NotPermitted as error:
            raise CliError(USAGE, str(error)) from None
        except Unavailable as error:
            raise CliError(ERROR, f"the read model does not answer: {error}; is READ_MODEL_URL right?") from None
        except SettingsError as error:
            raise CliError(USAGE, str(error)) from None
        yield "read model: tables are there"
