"""The screens on which pages are looked at, and a text that must not harm any of them."""

from __future__ import annotations

from typing import Any

import pytest

HOSTILE = "<img src=x onerror=alert(1)>'\"&%2F?#"
WIDTHS = pytest.mark.parametrize(("width", "dark"), [(1280, False), (360, True)], ids=["desk", "phone"])


def screen(width: int, height: int, dark: bool) -> dict[str, Any]:
    """Options of `Browser.new_context` of Playwright: sizes in pixels; nothing depends on the machine."""
    return {
        "viewport": {"width": width, "height": height},
        "color_scheme": "dark" if dark else "light",
        "reduced_motion": "reduce",
        "locale": "en-GB",
        "timezone_id": "UTC",
    }
