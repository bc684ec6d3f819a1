"""The wheel is built and installed once for all tests."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.e2e.system import System
from tests.package.wheel import Elsewhere, build, install


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    folder: Path = tmp_path_factory.mktemp("package")
    return install(build(folder), folder / "venv")


@pytest_asyncio.fixture
async def system(tmp_path: Path, cassandra_url: str) -> AsyncIterator[System]:
    """A namespace on the real servers, gone in the end."""
    system = System(tmp_path, cassandra_url)
    await system.open()
    yield system
    await system.close()
