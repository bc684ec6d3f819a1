"""How the command line asks a worker."""

from __future__ import annotations

from typing import Any

import pytest

from streams.cli.http import Door
from streams.cli.run import CliError
from streams.settings import Settings


@pytest.mark.parametrize(
    ("url", "insecure", "goes"),
    [
        ("http://10.0.0.5:6066", False, False),
        ("http://shop-1:6066", False, False),
        ("http://127.example.org:6066", False, False),
        ("http://shop-1:6066", True, True),
        ("https://shop-1:6066", False, True),
        ("http://127.0.0.1:6066", False, True),
        ("http://localhost:6066", False, True),
        ("http://[::1]:6066", False, True),
    ],
)
def test_a_token_in_the_clear(url: str, insecure: bool, goes: bool, tmp_path: Any) -> None:
    """It goes over http to this machine alone, unless that was said to be right."""
    file = tmp_path / "token"
    file.write_text("sst_canary")
    door = Door(url, Settings(http_token_file=str(file), http_insecure=insecure))
    if goes:
        assert "Bearer sst_canary" == door.headers["Authorization"]
        return
    with pytest.raises(CliError, match="in the clear") as stopped:
        _ = door.headers
    assert (2, False) == (stopped.value.code, "canary" in str(stopped.value))
