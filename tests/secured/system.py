"""The system on secured servers."""

from __future__ import annotations

import ssl
from pathlib import Path

from tests.e2e.system import System
from tests.secured import let_in
from tests.secured.servers import SecuredServers


class SecuredSystem(System):
    """Workers log in as the users of their apps, with the rights that these print; who asks them has a token. Commands
    of the command line, and what this class itself does, are an administrator's."""

    slowness = 2.0
    """Three brokers that wait for one another, TLS and logins, all on the cores of one: on two of them a takeover after
    kill -9 took 1.7 to 3.0 s."""

    def __init__(self, data: Path, journal_url: str, servers: SecuredServers) -> None:
        super().__init__(data, journal_url, servers.brokers, servers.kafka.administrator())
        self.secured = servers
        self.tls = ssl.create_default_context(cafile=servers.authority)
        self.bearer = {"Authorization": f"Bearer {servers.token_file.read_text()}"}

    def environment(self, **settings: str) -> dict[str, str]:
        opened = {**self.secured.administrator, **self.secured.door, "REPLY_TOPICS": self.topic("answers")}
        return super().environment(**{let_in.NOTES: str(self.data), **opened, **settings})

    def program(self, module: str) -> list[str]:
        return ["-m", "tests.secured.let_in"]
