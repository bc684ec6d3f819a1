"""How many digits a decimal has where it is stored: `Annotated[Decimal, Digits(scale=2)]`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Digits:
    """`precision` digits in all, `scale` of them behind the point. Without it a decimal has these defaults.

    It is for the schema of a field: what has more digits is refused when it is written. Raises `ValueError`.
    """

    precision: int = 18
    scale: int = 4

    def __post_init__(self) -> None:
        if not 0 <= self.scale <= self.precision or self.precision < 1:
            raise ValueError(f"a decimal has from 0 to all {self.precision} of its digits behind the point")
