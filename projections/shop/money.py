"""How money, averages and shares are shown."""

from __future__ import annotations

from decimal import Decimal


def amount(value: Decimal) -> str:
    """Without needless zeros, two decimals at least: `2.5500` is `2.55`, `426047.8510` is `426047.851`."""
    text = f"{value:.4f}"
    return text[:-2] if text.endswith("00") else text.rstrip("0")


def ratio(part: Decimal | int, whole: int, decimals: int) -> str:
    """`part / whole`, rounded half to even. No other figure is rounded."""
    return f"{Decimal(part) / whole:.{decimals}f}"
