"""A program in a process of its own, where strings are hashed otherwise: what a seed gives may not depend on it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def printed(program: str, hash_seed: str) -> str:
    """What a program prints with this `PYTHONHASHSEED`. Raises `CalledProcessError` where it fails."""
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", program]
    return subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
