"""The fit of the bench's model finds what the figures were made of."""

from __future__ import annotations

import pytest

from tests.bench.model import fit


def test_the_parts_are_found_again() -> None:
    assert pytest.approx((38.0, 1200.0)) == fit([(size, 38 + 1200 / size) for size in (1, 4, 15.5, 300)])
