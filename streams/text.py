"""Text of others on one line of ours."""

from __future__ import annotations


def one_line(error: object) -> str:
    """An error's message, or its type when it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def with_type(error: BaseException) -> str:
    """An error's type and message; for SQLAlchemy's give its `orig`, which does not show the statement's parameters."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def printable(text: str) -> str:
    """Text from elsewhere without what would move the terminal's cursor or change its colours."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
