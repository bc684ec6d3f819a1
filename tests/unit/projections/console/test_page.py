"""The files of the console: all there, nothing from elsewhere, and no text that becomes markup."""

from __future__ import annotations

import re

import pytest

from projections.console.page import INDEX, MEDIA, STATIC, files

SCRIPTS = [name for name in files() if name.endswith(".js")]
IMPORT = re.compile(r"""(?:from|import\()\s*["']([^"']+)["']""")
NAMED = re.compile(r"""(?:src|href)="console/([^"]+)\"""")
MARKUP = re.compile(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|eval\(|new Function|setHTML")
ELSEWHERE = re.compile(r"https?://(?!www\.w3\.org/2000/svg)")


def test_page_names_files_that_there_are() -> None:
    """What the page loads is there, and it has neither script nor style of its own in it."""
    page = files()[INDEX].read_text("utf-8")
    named = NAMED.findall(page)
    assert named
    assert set() == {*named} - {*files()}
    assert page.count("<script") == page.count("<script type=") == page.count("></script>")
    assert "<style" not in page
    assert "style=" not in page


@pytest.mark.parametrize("name", SCRIPTS)
def test_modules_import_what_there_is(name: str) -> None:
    """Each import is of a file of the page."""
    folder = files()[name].parent
    for other in IMPORT.findall(files()[name].read_text("utf-8")):
        assert (folder / other).resolve().relative_to(STATIC).as_posix() in files(), other


@pytest.mark.parametrize("name", SCRIPTS)
def test_text_never_becomes_markup(name: str) -> None:
    """No script makes elements of text: a browser that knows trusted types would refuse, another one would not."""
    assert not MARKUP.search(files()[name].read_text("utf-8"))


@pytest.mark.parametrize("name", files())
def test_nothing_from_elsewhere(name: str) -> None:
    """All that a browser loads comes from the worker."""
    assert not ELSEWHERE.search(files()[name].read_text("utf-8"))


def test_all_files_are_served() -> None:
    """No file is there in vain: each has a kind that is known."""
    assert {*MEDIA} >= {path.suffix for path in STATIC.rglob("*") if path.is_file()}
