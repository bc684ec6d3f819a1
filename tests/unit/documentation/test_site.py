"""The site: it is made without a broken link, and what stands on its pages can be read by what it is written for."""

from __future__ import annotations

import ast
import json
import re
import subprocess
from pathlib import Path, PurePosixPath
from typing import Any, get_type_hints

import pytest
import yaml

from documentation import api
from documentation.__main__ import build
from documentation.diagrams import keep
from documentation.layout import relinked, with_all
from documentation.reference import commands_of, metrics, settings
from streams.observability.catalog import METRICS
from streams.settings import Settings

ROOT = Path(__file__).parents[3]
PAGES = {file.relative_to(ROOT).as_posix(): file.read_text("utf-8") for file in (ROOT / "docs").rglob("*.md")}
PAGES["README.md"] = (ROOT / "README.md").read_text("utf-8")
BLOCKS = [
    pytest.param(language, text, id=f"{name}-{index}-{language}")
    for name, page in PAGES.items()
    for index, (language, text) in enumerate(re.findall(r"^```(\w+)\n(.*?)^```$", page, re.DOTALL | re.MULTILINE))
]
OF_THE_CODE = {"reference/settings.md", "reference/metrics.md", "reference/commands.md"}
OF_THE_CODE |= {f"reference/api-{package.replace('.', '-')}.md" for package in api.PACKAGES}


class Loader(yaml.SafeLoader):
    """Reads `mkdocs.yml`, in which names of Python stand."""


Loader.add_multi_constructor("tag:yaml.org,2002:python/name:", lambda loader, name, node: name)


def nav(entries: Any) -> list[str]:
    """The pages of a part of the navigation, in its order."""
    if isinstance(entries, str):
        return [entries]
    inner = entries.values() if isinstance(entries, dict) else entries
    return [page for entry in inner for page in nav(entry)]


def test_it_is_made_without_a_broken_link(tmp_path: Path) -> None:
    """Strictly: of pages and of the places within them. What the code says has its page too."""
    made = {"reference/settings.md": settings(), "reference/metrics.md": metrics(), "reference/commands.md": "# Made\n"}
    made |= api.pages()
    built = build(tmp_path, made)
    assert 0 == built.returncode, built.stdout + built.stderr
    site = tmp_path / "build" / "site"
    wanted = ("index", "concepts/log", "coming-from/faust", "reference/settings", "reference/api-streams", "guarantees")
    for page in wanted:
        assert (site / f"{page}.html").is_file(), page
    missing = []
    for file in site.rglob("*.html"):
        for picture in re.findall(r'<img [^>]*src="([^":]+)"', file.read_text("utf-8")):
            if not (file.parent / picture).is_file():
                missing.append(f"{file.relative_to(site)}: {picture}")
    assert [] == missing
    diagrams_are_drawn_by_the_site(site)


def diagrams_are_drawn_by_the_site(site: Path) -> None:
    """Pages that have some load what draws them from the site, before the theme looks for it; no other page does."""
    assert [f"concepts/{page}.html" for page in ("aggregate", "events", "log", "processes", "tables")] == keep(
        site, b"x"
    )
    for file in site.rglob("*.html"):
        text = file.read_text("utf-8")
        found = text.find('<script src="../assets/javascripts/mermaid.min.js">')
        assert ('<pre class="mermaid">' in text) == (found > 0), file
        assert found < text.index("assets/javascripts/bundle."), file


def test_every_page_is_in_the_navigation() -> None:
    """Each once, and none that is not there; a page that the file of the navigation lacks is at its end."""
    pages = {name.removeprefix("docs/") for name in PAGES if name != "README.md"} | OF_THE_CODE | {"index.md"}
    config = with_all((ROOT / "mkdocs.yml").read_text("utf-8"), [*pages, "new.md"])
    found = nav(yaml.load(config, Loader)["nav"])
    assert sorted([*pages, "new.md"]) == sorted(found)
    assert "new.md" in config.rpartition("Further pages:")[2]


def test_links_that_lead_out_of_the_pages() -> None:
    """To the repository where it is known, else their text; within a block of code all stays."""
    text = "[a](b.md#c) [code](../streams/x.py) [site](https://a.b)\n```\n[a](../y.py)\n```\n![p](pictures/p.png)"
    within = {"docs/b.md", "docs/pictures/p.png", "docs/deep/d.md", "docs/index.md"}
    source = PurePosixPath("docs/d.md")
    assert text.replace("[code](../streams/x.py)", "code") == relinked(text, source, "docs/d.md", within, "")
    known = relinked(text, source, "docs/d.md", within, "https://code/main")
    assert text.replace("../streams/x.py", "https://code/main/streams/x.py") == known
    moved = relinked("[a](docs/b.md) [r](README.md)", PurePosixPath("README.md"), "docs/index.md", within, "")
    assert "[a](b.md) [r](index.md)" == moved
    shown = relinked("[![p](docs/pictures/p.png)](docs/b.md)", PurePosixPath("README.md"), "docs/index.md", within, "")
    assert "[![p](pictures/p.png)](b.md)" == shown
    assert "[a](../b.md)" == relinked("[a](../b.md)", PurePosixPath("docs/deep/d.md"), "docs/deep/d.md", within, "")


def test_links_to_files_lead_somewhere() -> None:
    """Also those that leave the site, to code and to results."""
    missing = []
    for name, page in PAGES.items():
        text = re.sub(r"^ *```.*?^ *```$", "", page, flags=re.DOTALL | re.MULTILINE)
        for to in re.findall(r"\]\(([^)\s#]+)(?:#[^)]*)?\)", text):
            if "://" not in to and not (ROOT / name).parent.joinpath(to).exists():
                missing.append(f"{name}: {to}")
    assert [] == missing


@pytest.mark.parametrize(("language", "text"), BLOCKS)
def test_snippets_can_be_read(language: str, text: str) -> None:
    """By Python, by a shell, as JSON; each picture says of which kind it is."""
    match language:
        case "python":
            ast.parse(text)
        case "json":
            json.loads(text)
        case "bash":
            subprocess.run(["bash", "-n", "-c", text], check=True)
        case "mermaid":
            assert text.startswith(("flowchart ", "sequenceDiagram\n"))


def test_every_setting_is_explained() -> None:
    """In full on a page that somebody has written, and in the list that the code makes."""
    made = settings()
    written = "".join(PAGES[f"docs/{page}.md"] for page in ("operations", "security", "observability"))
    for name in get_type_hints(Settings):
        assert f"`{name.upper()}`" in made
        assert f"`{name.upper()}`" in written, name


def test_every_metric_and_command_is_listed() -> None:
    """As the code has them."""
    made = metrics()
    assert all(f"| `{name}` |" in made for name in METRICS)
    found = commands_of("streams.shop.orders")
    assert {"worker", "send", "show", "history", "owners", "logs", "journal", "setup"} <= set(found)
    assert "Exit code" in found["send"]
