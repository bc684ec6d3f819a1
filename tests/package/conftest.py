"""The wheel is built and installed once for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.package.wheel import Elsewhere, build, install


@pytest.fixture(scope="session")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Elsewhere:
    folder: Path = tmp_path_factory.mktemp("package")
    return install(build(folder), folder / "venv")
