"""What is promised to those who depend on the distribution: see docs/compatibility.md."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

import pytest

from tests.package.public_api import FILE, PACKAGES, listing

ROOT = Path(__file__).parents[2]


def test_public_names_are_those_of_the_listing() -> None:
    """A change of what is public is seen as a difference of a file, and is decided, not an accident."""
    assert FILE.read_text() == listing(), f"python -m tests.package.public_api > {FILE.relative_to(ROOT)}"


@pytest.mark.parametrize("package", PACKAGES)
def test_names_are_found(package: str) -> None:
    """Each public name is there, and no module below the package has the same one, which would take its place."""
    module = import_module(package)
    assert sorted(module.__all__, key=str.lower) == sorted(set(module.__all__), key=str.lower)
    for name in module.__all__:
        assert getattr(module, name) is not None
        assert not (ROOT / package / f"{name}.py").exists()
        assert not (ROOT / package / name).is_dir()
    with pytest.raises(AttributeError):
        getattr(module, "nothing_of_this_name")  # noqa: B009
