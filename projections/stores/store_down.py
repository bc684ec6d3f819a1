"""What a database says that does not answer, in the words of the port `Rows`."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from projections.stores.rows import StoreDown
from streams.journal.port import Unavailable

P = ParamSpec("P")
T = TypeVar("T")


def raises_store_down(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """The same method, raising `StoreDown` where it raised `Unavailable`."""

    @wraps(method)
    async def asked(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await method(*args, **kwargs)
        except Unavailable as error:
            raise StoreDown(str(error)) from None

    return asked
