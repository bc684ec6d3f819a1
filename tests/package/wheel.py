"""The wheel of this tree, and a venv with it and nothing else of this repository."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PACKAGES = ("aggregates", "projections", "schemas", "sourced", "streams")
BORROWED = ("faust", "honcho", "pytest")
"""Programs of this tree's venv, which are to run what is in the other one."""


@dataclass(frozen=True)
class Elsewhere:
    """A venv with the wheel. What it depends on comes from the venv of this tree, which has installed it before;
    `make package` installs all of it anew."""

    folder: Path
    wheel: Path

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def run(
        self, *command: str | Path, cwd: Path, code: int | None = 0, env: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command of the venv, or any other; its output, both of it, is told when its exit code is another."""
        path = f"{self.folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        seen = {name: value for name, value in {**os.environ, **(env or {})}.items() if name != "PYTHONPATH"}
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env={**seen, "PATH": path, "VIRTUAL_ENV": str(self.folder)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert code is None or done.returncode == code, (
            f"{command} ended with {done.returncode}\n{done.stdout}{done.stderr}"
        )
        return done


def build(folder: Path) -> Path:
    """The wheel, made of a copy of what belongs into it, so that nothing is left in this tree."""
    source = folder / "source"
    for package in PACKAGES:
        shutil.copytree(ROOT / package, source / package, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", str(folder), str(source)], check=True, timeout=300)
    [wheel] = folder.glob("sourced_streams-*.whl")
    return wheel


def install(wheel: Path, folder: Path) -> Elsewhere:
    """A venv with the wheel, beside what it depends on."""
    venv.create(folder, with_pip=False)
    there = Elsewhere(folder, wheel)
    pip = [sys.executable, "-m", "pip", "--python", str(there.python), "install", "--quiet", "--no-deps"]
    # With this tree in PYTHONPATH pip would see its `egg-info`, take the wheel for installed, and do nothing.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    subprocess.run([*pip, str(wheel)], check=True, timeout=300, env=environment)
    [site] = (folder / "lib").glob("python*/site-packages")
    (site / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    for module in BORROWED:
        script = there.python.with_name(module)
        script.write_text(f'#!/bin/sh\nexec "{there.python}" -m {module} "$@"\n')
        script.chmod(0o755)
    return there
