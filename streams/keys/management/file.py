"""Keys in files, for development on one machine: who can read the folder can read all that was sealed."""

from __future__ import annotations

import os
import re
from datetime import datetime
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from streams.keys.management.port import KeyDestroyed
from streams.moments import now
from streams.settings import SettingsError

KEY_BYTES, NONCE_BYTES = 32, 12
_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}")


class FileKeys:
    """A `KeyManagement` whose keys are `<folder>/<name>.key`, for the user of the worker alone (mode 600)."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    @classmethod
    def of_path(cls, path: str) -> FileKeys:
        """From the path of `file:///folder`. Raises `SettingsError`."""
        return cls(Path(path).expanduser())

    async def create(self, name: str) -> str:
        file = self._file(name)
        try:
            self._make(file)
        except FileExistsError:
            pass
        except OSError as error:
            raise self._trouble(error) from None
        return name

    async def wrap(self, key: str, secret: bytes) -> bytes:
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._cipher(key).encrypt(nonce, secret, key.encode())

    async def unwrap(self, key: str, wrapped: bytes) -> bytes:
        try:
            return self._cipher(key).decrypt(wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], key.encode())
        except InvalidTag:
            raise ValueError(f"not wrapped by the key {key}") from None

    async def destroy(self, key: str) -> datetime:
        file = self._file(key)
        try:
            with file.open("r+b") as old:  # in its place: the bytes are not to stay on the disk, as far as that helps
                old.write(bytes(KEY_BYTES))
                old.flush()
                os.fsync(old.fileno())
            file.unlink()
        except FileNotFoundError:
            pass
        except OSError as error:
            raise self._trouble(error) from None
        return now()

    async def close(self) -> None:
        pass

    def __str__(self) -> str:
        return f"files in {self._folder}"

    def _make(self, file: Path) -> None:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with open(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as new:
            new.write(AESGCM.generate_key(8 * KEY_BYTES))
            new.flush()
            os.fsync(new.fileno())

    def _file(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name[:40]!r} is no name of a key")
        return self._folder / f"{name}.key"

    def _cipher(self, name: str) -> AESGCM:
        try:
            return AESGCM(self._file(name).read_bytes())
        except FileNotFoundError:
            if not self._folder.is_dir():
                raise SettingsError(f"KEY_MANAGEMENT: there is no folder {self._folder}, which has the keys") from None
            raise KeyDestroyed(f"the key {name} is not in {self._folder}") from None
        except (OSError, ValueError) as error:
            raise self._trouble(error) from None

    def _trouble(self, error: Exception) -> SettingsError:
        return SettingsError(f"KEY_MANAGEMENT: {self._folder}: {getattr(error, 'strerror', None) or error}")
