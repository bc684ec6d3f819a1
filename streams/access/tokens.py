"""The file of bearer tokens: of each a line with a name, a hash, and the day until which it holds, if any.

    ci     sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
    deploy sha256:60303ae22b998861bce3b28f33eec1be758a213c86c93c076dbe9f558c11c752 2027-01-01T00:00:00+00:00

A token has 256 bits by chance, so that its plain hash tells nothing, and who reads the file has none.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Mapping
from datetime import datetime

from streams.access.principal import Identified, NotKnown, Principal

PREFIX = "sst_"
"""By which programs that look for secrets in repositories know one."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HASH = re.compile(r"sha256:([0-9a-f]{64})")


class Tokens:
    """Those of a file, by the hash of each."""

    def __init__(self, known: Mapping[str, Identified]) -> None:
        self._known = known

    @classmethod
    def read(cls, text: str) -> Tokens:
        """Raises `ValueError`, which names a line and shows nothing of it."""
        known: dict[str, Identified] = {}
        for number, line in enumerate(text.splitlines(), 1):
            parts = line.partition("#")[0].split()
            if not parts:
                continue
            try:
                name, digest, *until = parts
                found = _HASH.fullmatch(digest)
                if found is None or not NAME.fullmatch(name) or len(until) > 1:
                    raise ValueError
                known[found[1]] = Identified(Principal("token", name), _seconds(*until))
            except ValueError:
                raise ValueError(f"line {number} is no `NAME sha256:HEX [UNTIL]`: `token NAME` writes one") from None
        return cls(known)

    def find(self, token: str) -> Identified:
        """Whose token it is. Raises `NotKnown`."""
        found = self._known.get(_digest(token))
        if found is None:
            raise NotKnown("there is no such token")
        if found.until is not None and found.until <= time.time():
            raise NotKnown("the token has expired")
        return found


def new_token(name: str, until: datetime | None = None) -> tuple[str, str]:
    """A token for somebody, and its line for the file."""
    token = PREFIX + secrets.token_urlsafe(32)
    parts = [name, f"sha256:{_digest(token)}", *([until.isoformat(timespec="seconds")] if until else [])]
    return token, " ".join(parts)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode(errors="surrogatepass")).hexdigest()


def _seconds(text: str = "") -> float | None:
    if not text:
        return None
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError("without a zone")
    return moment.timestamp()
