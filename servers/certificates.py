"""Certificates for servers and clients of this machine, from an authority of our own: for tests, and to try TLS out."""

from __future__ import annotations

from pathlib import Path

import trustme
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key

from servers.where import LOCAL


class Authority:
    """An authority whose certificate is in `<folder>/<name>.pem`."""

    def __init__(self, folder: Path, name: str = "ca") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._ca = trustme.CA()
        self.file = folder / f"{name}.pem"
        self._ca.cert_pem.write_to_path(self.file)

    def issue(self, name: str, *hosts: str) -> Path:
        """A new key and its certificate for `name`, in this order in one file, which it replaces in one step; for a
        server at these hosts, or a client of that common name."""
        made = self._ca.issue_cert(*(hosts or ["client.invalid"]), common_name=name)
        key = load_pem_private_key(made.private_key_pem.bytes(), None)
        parts = [key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())]  # the form that Java reads
        parts += [certificate.bytes() for certificate in made.cert_chain_pems]
        file, draft = self._folder / f"{name}.pem", self._folder / f".{name}.pem"
        draft.touch(mode=0o600)
        draft.write_bytes(b"".join(parts))
        return draft.replace(file)

    def issue_here(self, name: str) -> Path:
        """The certificate of a server of this machine."""
        return self.issue(name, *LOCAL)
