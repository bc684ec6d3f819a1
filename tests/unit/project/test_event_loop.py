"""Workers run on uvloop, which they install when they start: too late where an event loop was asked for before."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
LOOK = """
import importlib, sys
from mode.utils import loops
importlib.import_module(sys.argv[1])
sys.exit(hasattr(loops._current_loop, "loop"))
"""


@pytest.mark.parametrize("module", ["streams.shop.orders", "streams.shop.checkout", "projections.shop.app"])
def test_no_event_loop_before_the_worker_starts(module: str) -> None:
    """To declare an app asks for no event loop: Faust would keep it, and the worker run on that one."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run([sys.executable, "-c", LOOK, module], env=environment, check=False)
    assert 0 == ended.returncode
