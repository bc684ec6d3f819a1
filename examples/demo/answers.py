"""The questions of the demo, and the display of the answers. No other file of the demo knows the form of an answer."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from rich.console import Console, JustifyMethod
from rich.markup import escape
from rich.table import Table

from servers.http import NoAnswer, get_json


def show_all(door: str, order: str, console: Console) -> bool:
    """Ask `door` everything; False when an answer is missing, which is shown in its place."""
    path = f"/orders/{quote(order, safe='')}"
    questions: list[tuple[str, str, Callable[[Any, Console], None]]] = [
        ("Revenue by month", "/analytics/revenue?by=month", _revenue),
        ("Orders by status", "/analytics/orders-by-status", _statuses),
        ("Top products", "/analytics/top-products?n=5", _top_products),
        (f"Order {order}", path, _order),
        (f"How order {order} came about", f"{path}/history", _history),
        ("Lag", "/lag", _lag),
    ]
    complete = True
    for title, where, show in questions:
        console.print(f"\n[bold]{title}[/]  [dim]GET {door}{where}[/]", highlight=False)
        try:
            show(get_json(door + where), console)
        except NoAnswer as error:
            complete = False
            console.print(f"  no answer: {error}", style="red", markup=False)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            complete = False
            console.print(f"  an answer in another form than expected: {error!r}", style="red", markup=False)
    return complete


def lag(answer: Any) -> int:
    """Commits in the journals that the tables do not show yet."""
    return sum(int(stream["lag"]) for stream in answer["streams"])


def _revenue(answer: Any, console: Console) -> None:
    table = _table("month", ">revenue")
    for row in answer["revenue"]:
        _add(table, row["period"], row["revenue"])
    console.print(table)


def _statuses(answer: Any, console: Console) -> None:
    table = _table("status", ">orders")
    for status, count in answer["statuses"].items():
        if count:
            _add(table, status, f"{count:,}")
    console.print(table)


def _top_products(answer: Any, console: Console) -> None:
    table = _table("sku", "description", ">quantity", ">revenue")
    for row in answer["products"]:
        _add(table, row["sku"], row["description"], row["quantity"], row["revenue"])
    console.print(table)


def _order(answer: Any, console: Console) -> None:
    text = json.dumps(answer, indent=2, ensure_ascii=False).splitlines()
    more = [f"  ... {len(text) - 24} more lines"] if len(text) > 24 else []
    console.print("\n".join(f"  {line}" for line in [*text[:24], *more]), markup=False, highlight=False)


def _history(answer: Any, console: Console) -> None:
    table = _table(">sequence", "event", "data")
    events = answer["events"] if isinstance(answer, dict) else answer
    shown = events if len(events) <= 12 else [*events[:8], None, *events[-3:]]
    for event in shown:
        if event is None:
            _add(table, "...", f"({len(events) - 11} more)", "")
        else:
            data = json.dumps(event.get("data"), ensure_ascii=False)
            _add(table, event["sequence"], event["type"], data if len(data) <= 48 else data[:47] + "…")
    console.print(table)


def _lag(answer: Any, console: Console) -> None:
    console.print(f"  {lag(answer)} commits in {len(answer['streams'])} streams are not yet in the tables")


def _table(*columns: str) -> Table:
    """A column whose name begins with '>' is set to the right."""
    table = Table(box=None, padding=(0, 2))
    for name in columns:
        justify: JustifyMethod = "right" if name.startswith(">") else "left"
        table.add_column(name.removeprefix(">"), justify=justify, no_wrap=True, overflow="ellipsis")
    return table


def _add(table: Table, *values: object) -> None:
    """A row of text as it is: what stands in brackets is no markup."""
    table.add_row(*(escape(str(value)) for value in values))
