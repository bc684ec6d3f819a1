"""Certificates for servers of this machine and their clients, by an authority of our own: development and tests.

An authority that is made again in the same folder is the same one, so that whoever trusts it need not be told.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from servers.where import LOCAL

LIFETIME = timedelta(days=365)


@dataclass(frozen=True)
class Certificate:
    """The files of a certificate, in PEM. `both` has the key and the certificate: the keystore of a Java server."""

    cert: Path
    key: Path
    both: Path


class Authority:
    """An authority, and the folder of all that it has issued. `file` is what others are to trust."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        self.folder = folder
        self.file = folder / f"{name}.pem"
        key = folder / f"{name}.key"
        if key.exists():
            self._ca = trustme.CA.from_pem(self.file.read_bytes(), key.read_bytes())
        else:
            self._ca = trustme.CA(organization_name="development")
            _write(self.file, self._ca.cert_pem.bytes())
            _write(key, self._ca.private_key_pem.bytes(), secret=True)

    def server(self, name: str, *hosts: str, lifetime: timedelta = LIFETIME) -> Certificate:
        """A certificate for these host names and addresses, this machine's if none is given; in the files `name.*`,
        anew at each call."""
        return self._issued(name, hosts or LOCAL, lifetime)

    def client(self, name: str, lifetime: timedelta = LIFETIME) -> Certificate:
        """The certificate of the user `name`, who is its common name; anew at each call."""
        return self._issued(name, (), lifetime)

    def issue(self, name: str, *hosts: str) -> Path:
        """The one file with key and certificate, for a server at these hosts, or a client of that common name."""
        return self._issued(name, hosts, LIFETIME).both

    def issue_here(self, name: str) -> Path:
        """The same for a server of this machine."""
        return self.issue(name, *LOCAL)

    def _issued(self, name: str, hosts: tuple[str, ...], lifetime: timedelta) -> Certificate:
        names = hosts or ("client.invalid",)  # Java takes no certificate with an empty list of names
        issued = self._ca.issue_cert(*names, common_name=name, not_after=datetime.now(UTC) + lifetime)
        certificate = b"".join(part.bytes() for part in issued.cert_chain_pems)
        key = _pkcs8(issued.private_key_pem.bytes())
        files = Certificate(*(self.folder / f"{name}.{ending}" for ending in ("crt", "key", "pem")))
        _write(files.cert, certificate)
        _write(files.key, key, secret=True)
        _write(files.both, key + certificate, secret=True)
        return files


def _pkcs8(key: bytes) -> bytes:
    """A private key in the one form that Java reads."""
    return load_pem_private_key(key, None).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(file: Path, content: bytes, secret: bool = False) -> None:
    """Write a file in one step, so that a server that reads it anew never sees half of it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_name(f"{file.name}.part")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600 if secret else 0o644)
    draft.write_bytes(content)
    draft.replace(file)
