"""`faust worker`, with `--datadir` among its own options: Faust takes it before the word `worker` only."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import faust
import uvloop
from faust.cli import worker as faust_worker
from faust.cli.base import option
from yarl import URL

from streams.concurrency.lingering import end_in_time
from streams.runtime.places import where_to_listen

_HELP = {
    "web_bind": "Address to listen on  [default: 127.0.0.1]. 0.0.0.0 is all of this machine: see docs/security.md.",
    "web_host": "Name or address under which other workers reach this one  [default: the address that it listens on; "
    "where that is all, the name of this machine].",
}
"""Faust says nothing of the one, and of the other a default that is not ours."""


class Worker(faust.Worker):  # type: ignore[misc]
    """The process of an app: it ends in time."""

    async def stop(self) -> None:
        if not self._stopped.is_set():  # it is called again at the very end
            end_in_time(self.loop)
        await super().stop()


class worker(faust_worker.worker):  # type: ignore[misc]
    """Start a worker of this app; start as many as you like, on as many machines."""

    redirect_stdouts = False  # the `ready:` line is for programs, so it stays as it is

    options = [  # noqa: RUF012
        *faust_worker.worker.options,
        option("--datadir", type=str, default=None, help="Folder of this worker's own local files."),
    ]

    @classmethod
    def as_click_command(cls) -> Any:
        """Where Faust makes a command of it."""
        command: Any = super().as_click_command()
        for parameter in command.params:
            parameter.help = _HELP.get(parameter.name, parameter.help)
        return command

    def run_using_worker(self, *args: Any, **kwargs: Any) -> Any:
        """Run on uvloop: the same asyncio, with less time spent in the loop itself."""
        uvloop.install()
        super().run_using_worker(*args, **kwargs)

    def on_worker_created(self, worker: Any) -> None:
        """Say what starts; no spinner where nobody watches it."""
        super().on_worker_created(worker)
        if worker.spinner and not worker.spinner.file.isatty():
            worker.spinner = None

    def _init_worker_options(
        self,
        *args: Any,
        datadir: str | None = None,
        web_bind: str | None = None,
        web_host: str | None = None,
        **kwargs: Any,
    ) -> None:
        if datadir:
            self.app.conf.datadir = Path(datadir).expanduser()
        web_bind, web_host = where_to_listen(web_bind, web_host)
        super()._init_worker_options(*args, web_bind=web_bind, web_host=web_host, **kwargs)
        conf = self.app.conf
        if self.app.settings.http_tls_cert_file:
            conf.canonical_url = str(URL.build(scheme="https", host=conf.web_host, port=conf.web_port))
