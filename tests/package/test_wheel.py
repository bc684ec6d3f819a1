"""The wheel works elsewhere: with its dependencies, and without this repository."""

from __future__ import annotations

import zipfile
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.specifiers import SpecifierSet

from tests.package.wheel import PACKAGES, ROOT, Elsewhere

IMPORT_ALL = """
import importlib, pkgutil, sys

class Absent:
    # What the wheel is to do without: tests, the example, and drivers that are extras.
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in GONE or "shop" in name.split(".")[1:2]:
            raise ModuleNotFoundError(name, name=name)

GONE = {gone!r}
sys.meta_path.insert(0, Absent())
count = 0
for package in {packages!r}:
    module = importlib.import_module(package)
    assert "site-packages" in module.__file__, module.__file__
    for name in getattr(module, "__all__", ()):
        getattr(module, name)
    for found in pkgutil.walk_packages(module.__path__, f"{{package}}.", onerror=lambda name: None):
        if ".shop" in found.name or found.name.endswith("__main__") or found.name.startswith({apart!r}):
            continue
        importlib.import_module(found.name)
        count += 1
print(count)
"""
APART = (
    # Each imports the driver of an extra, and is imported where a setting asks for it.
    "streams.journal.cassandra", "streams.keys.cassandra", "projections.stores.shared.cassandra",
    "streams.journal.sql.postgres", "streams.access.oidc", "streams.observability.otlp",
    "streams.timers",  # an app: it opens its journal, by default Cassandra, and says in one line what to install
    "sourced.testing.plugin",  # pytest imports it
)  # fmt: skip


def test_what_is_in_it(elsewhere: Elsewhere) -> None:
    """The packages with their types, schemas and pages; nothing of tests, servers and examples."""
    names = zipfile.ZipFile(elsewhere.wheel).namelist()
    assert {*PACKAGES, elsewhere.wheel.name.removesuffix("-py3-none-any.whl") + ".dist-info"} == {
        name.partition("/")[0] for name in names
    }
    for package in PACKAGES:
        assert f"{package}/py.typed" in names
        # All that git knows is in the wheel, and so is every file that code opens beside itself.
        ours = {path for path in (ROOT / package).rglob("*") if path.is_file() and "__pycache__" not in path.parts}
        assert set() == {str(path.relative_to(ROOT)) for path in ours} - set(names)


def test_all_that_is_pinned_installs_on_the_first_python() -> None:
    """The oldest that `requires-python` takes, to the last digit: a package that wants 3.11.5 keeps who has Debian's
    3.11.2 from installing anything."""
    oldest = "3.11.0"
    pinned = [line.partition("==")[0] for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line]
    here = {it.name.lower(): it.metadata["Requires-Python"] or "" for it in distributions()}
    wants = {name: here[name.lower()] for name in pinned if name.lower() in here}  # some are for other systems
    assert len(wants) > 100
    assert [] == [f"{name} wants {python}" for name, python in wants.items() if oldest not in SpecifierSet(python)]


def test_console_script(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """`sourced` is there, says what it can do, and what is wrong in one line."""
    said = elsewhere.run("sourced", "--help", cwd=tmp_path).stdout
    assert "schemas" in said
    assert "0." in elsewhere.run("sourced", "--version", cwd=tmp_path).stdout
    wrong = elsewhere.run("sourced", "schemas", "check", cwd=tmp_path, code=2).stderr
    assert wrong.startswith(f"Error: no project in {tmp_path} or above it")
    assert 1 == len(wrong.splitlines())


def test_needs_nothing_of_tests_the_example_and_extras(elsewhere: Elsewhere, tmp_path: Path) -> None:
    """Every module of the engine is imported while tests, the shop and the drivers of extras are not to be had."""
    extras = ["asyncpg", "botocore", "cassandra", "gssapi", "jwt", "opentelemetry"]
    gone = ["tests", "servers", "examples", "pytest", "hypothesis", *extras]
    script = IMPORT_ALL.format(gone=gone, packages=PACKAGES, apart=APART)
    assert int(elsewhere.run("python", "-c", script, cwd=tmp_path).stdout) > 300


@pytest.mark.parametrize(
    ("url", "module", "extra"),
    [("cassandra://127.0.0.1/x", "cassandra", "cassandra"), ("postgresql://127.0.0.1/x", "asyncpg", "postgres")],
)
def test_a_missing_extra_is_one_line(elsewhere: Elsewhere, tmp_path: Path, url: str, module: str, extra: str) -> None:
    """It says which setting asks for it, and what to install."""
    code = (
        f"import sys; sys.modules[{module!r}] = None\n"
        "from streams import stop_on_user_error\n"
        "from streams.open_journal import open_journal\n"
        f"with stop_on_user_error():\n    open_journal({url!r}, '', 'orders')\n"
    )
    said = elsewhere.run("python", "-c", code, cwd=tmp_path, code=2).stderr
    scheme = url.partition(":")[0]
    assert f"error: JOURNAL_URL={scheme}://..: pip install 'sourced-streams[{extra}]' first\n" == said
