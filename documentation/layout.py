"""The pages of the site: those of `docs/`, the README as the first one, and what the code says of itself.

Links that lead out of `docs/`, to code and to results, have no page there: they become their texts, or links to the
repository where it is known.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath

_LINK = re.compile(r"(?P<mark>!?)\[(?P<text>(?:[^\[\]]|\[[^\]]*\])*)\]\((?P<to>[^)\s]+)\)")
_FENCED = re.compile(r"(^ *```.*?^ *```$)", re.DOTALL | re.MULTILINE)


def lay(root: Path, into: Path, made: Mapping[str, str], repository: str = "") -> None:
    """Write all pages of the repository in `root` to an empty folder `into`. `made`: further pages, by name.
    `repository`: where files are seen, to be followed by their paths, or empty."""
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    pages = {f"docs/{file.relative_to(root / 'docs').as_posix()}": file for file in (root / "docs").rglob("*.md")}
    texts = {name: file.read_text("utf-8") for name, file in pages.items()}
    texts |= {"docs/index.md": (root / "README.md").read_text("utf-8")}
    for name, text in texts.items():
        source = PurePosixPath("README.md" if name == "docs/index.md" else name)
        _write(into / name.removeprefix("docs/"), relinked(text, source, name, {*texts, *_pictures(root)}, repository))
    for name, text in made.items():
        _write(into / name, text)
    shutil.copy(root / "docs" / "site.css", into)
    for picture in _pictures(root):
        target = into / picture.removeprefix("docs/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / picture, target)


def with_all(config: str, pages: Iterable[str]) -> str:
    """The text of `mkdocs.yml`, whose navigation has all of these pages: those that it lacks are at its end."""
    listed = set(re.findall(r"[\w/-]+\.md$", config, re.MULTILINE))
    lacking = [page for page in pages if page not in listed]
    return config + "".join(["  - Further pages:\n", *(f"      - {page}\n" for page in lacking)] if lacking else [])


def relinked(text: str, source: PurePosixPath, page: str, within: set[str], repository: str) -> str:
    """A page whose links fit its place in the site. `source`: where it is written; `page`: where it is as a page of
    `docs/`; `within`: the pages and pictures there. What stands in a block of code is left alone."""

    def fitting(match: re.Match[str]) -> str:
        to, hash, anchor = match["to"].partition("#")
        label = _LINK.sub(fitting, match["text"])  # a picture may be what one clicks at
        if "://" in to or not to:
            return f"{match['mark']}[{label}]({match['to']})"
        path = _normal(source.parent / to)
        if path == "README.md":
            path = "docs/index.md"
        if path in within:
            return f"{match['mark']}[{label}]({_from(page, path)}{hash}{anchor})"
        if repository:
            return f"{match['mark']}[{label}]({repository.rstrip('/')}/{path}{hash}{anchor})"
        return label or path

    parts = _FENCED.split(text)  # each second part is a block of code
    return "".join(part if index % 2 else _LINK.sub(fitting, part) for index, part in enumerate(parts))


def _pictures(root: Path) -> list[str]:
    """The pictures of the pages, by their paths in the repository."""
    folders = (root / "docs", root / "tests" / "bench" / "results")
    return [file.relative_to(root).as_posix() for folder in folders for file in sorted(folder.rglob("*.png"))]


def _normal(path: PurePosixPath) -> str:
    """A path without `..`."""
    parts: list[str] = []
    for part in path.parts:
        if part == "..":
            del parts[-1:]
        else:
            parts.append(part)
    return "/".join(parts)


def _from(page: str, path: str) -> str:
    """How a page of `docs/` reaches another file; what is not of `docs/` is beside its pages."""
    here, there = (PurePosixPath(name.removeprefix("docs/")) for name in (page, path))
    return "/".join([".."] * len(here.parent.parts) + list(there.parts))


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, "utf-8")
