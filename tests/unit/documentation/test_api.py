"""The pages of public names: all that `__all__` names, with what it says of itself."""

from __future__ import annotations

from importlib import import_module

import griffe
import pytest

from documentation import api


@pytest.mark.parametrize("package", api.PACKAGES)
def test_every_public_name_says_what_it_is(package: str) -> None:
    """Each name of `__all__` has a part of its page; classes and functions have a text there, also their public
    members."""
    page = api.page(package)
    silent = []
    for name in import_module(package).__all__:
        assert f"## {name}\n" in page
        found = api.target(name, package)
        if isinstance(found, griffe.Class):
            methods = [it for it in api.own(found) if isinstance(it, griffe.Function)]
            silent += [f"{name}.{it.name}" for it in methods if not api.text(it)]
        if isinstance(found, griffe.Class | griffe.Function) and not api.text(found):
            silent.append(name)
    assert [] == silent
