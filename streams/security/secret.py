"""A value that is never shown: a password, a token, the key to a key."""

from __future__ import annotations

from pathlib import Path

HIDDEN = "***"


class SecretUnreadable(OSError):
    """The file of a secret cannot be read, or is empty; the message names setting and file."""


class Secret:
    """A secret as a setting gives it: by value, or by the file that has it, which is read anew at each use.

    Whatever prints it, or what holds it, shows `***`. Empty where nothing is set, which is false.
    """

    __slots__ = ("_file", "_setting", "_value")

    def __init__(self, value: str = "", *, file: str = "", setting: str = "") -> None:
        self._value = value
        self._file = file
        self._setting = setting

    def reveal(self) -> str:
        """The secret itself, for whoever hands it to a server. Raises `SecretUnreadable`."""
        if not self._file:
            return self._value
        try:
            text = Path(self._file).read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8"
            raise SecretUnreadable(f"{self._setting}_FILE={self._file}: {reason}") from None
        text = text.removesuffix("\n").removesuffix("\r")
        if not text:
            raise SecretUnreadable(f"{self._setting}_FILE={self._file}: it is empty")
        return text

    def __bool__(self) -> bool:
        return bool(self._value or self._file)

    def __repr__(self) -> str:
        return f"Secret({HIDDEN})" if self else "Secret()"

    def __str__(self) -> str:
        return HIDDEN if self else ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and (self._value, self._file) == (other._value, other._file)

    def __hash__(self) -> int:
        return hash((self._value, self._file))

    def __reduce__(self) -> str:
        raise TypeError("a secret is not written anywhere")


NO_SECRET = Secret()
