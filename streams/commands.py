"""The command line of every app: placeholders for now."""
from __future__ import annotations
from typing import Any
def register(app: Any, contexts: Any) -> None: ...
