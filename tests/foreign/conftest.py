"""The examples, built once in folders of their own."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from servers import tools
from tests import machine_tools
from tests.e2e.conftest import journal_url, servers, system
from tests.e2e.system import ROOT

__all__ = ["java", "journal_url", "node", "servers", "system"]

BUILD_SECONDS = 240
RUN_SECONDS = 120

Program = Callable[..., Awaitable[str]]
"""Runs a program with these arguments, and returns what it prints."""


def built(command: list[str], folder: Path, **environment: str) -> None:
    """Run a build; what it says shows when it fails."""
    done = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, timeout=BUILD_SECONDS
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-4000:]


async def output(*command: str | Path) -> str:
    """What a program prints, which ends well."""
    arguments = [str(part) for part in command]
    done = await asyncio.to_thread(
        subprocess.run, arguments, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr[-4000:]
    return done.stdout


@pytest.fixture(scope="session")
def java(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """Runs a class of examples/java, or a file of source beside them."""
    home, target = machine_tools.java_home(), tmp_path_factory.mktemp("java")
    tools.maven()
    copy = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={target / 'libs'}"]
    built(["mvn", "-q", "-B", f"-Dbuild={target}", "package", *copy], ROOT / "examples/java", JAVA_HOME=str(home))
    classes = f"{target / 'classes'}:{target / 'libs'}/*"
    return lambda name, *arguments: output(home / "bin" / "java", "-Xmx256m", "-cp", classes, name, *arguments)


@pytest.fixture(scope="session")
def node(tmp_path_factory: pytest.TempPathFactory) -> Program:
    """Runs a script of examples/node, or one of elsewhere with the same libraries."""
    machine_tools.node()
    folder = tmp_path_factory.mktemp("node") / "example"
    shutil.copytree(ROOT / "examples/node", folder, ignore=shutil.ignore_patterns("node_modules"))
    built(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], folder)
    libraries = f"NODE_PATH={folder / 'node_modules'}"
    return lambda script, *arguments: output("env", libraries, "node", folder / script, *arguments)
