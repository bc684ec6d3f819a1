"""`make package`: the wheel and all that it depends on in a venv of its own, and a project that is made there.

Where `tests/package` borrows the dependencies of this tree's venv, here pip installs them, as it would anywhere else.
"""

from __future__ import annotations

import subprocess
import tempfile
import time
import venv
from pathlib import Path

from tests.package.wheel import Elsewhere, build


def main() -> None:
    began = time.monotonic()

    def told(what: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {what}", flush=True)

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        there = Elsewhere(root / "venv", build(root))
        told(f"built {there.wheel.name}")
        venv.create(there.folder, with_pip=True)
        pip = [str(there.python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, f"{there.wheel}[cassandra]", "honcho", "mypy", "pytest", "ruff"], check=True)
        told("installed, with the extra cassandra and tools of its own")
        there.run(there.python, "-m", "pip", "check", cwd=root)
        there.run("sourced", "new", "orders", cwd=root)
        told("sourced new orders")
        project = root / "orders"
        commands: list[list[str | Path]] = [
            ["ruff", "check", "."],
            ["ruff", "format", "--check", "."],
            [there.python, "-m", "pytest", "-q"],
            [there.python, "-m", "mypy"],
            ["sourced", "schemas", "write", "--check"],
            ["sourced", "schemas", "check"],
        ]
        for command in commands:
            there.run(*command, cwd=project)
            told(" ".join(Path(part).name if isinstance(part, Path) else part for part in command))


if __name__ == "__main__":
    main()
