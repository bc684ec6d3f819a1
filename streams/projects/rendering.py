"""The files that `sourced new` and `sourced add` write: templates of this package, with names filled in."""

from __future__ import annotations

import keyword
import re
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path

from streams.projects.project import ProjectError

MOST = 24
"""Characters of a name: lines of the templates hold several, and are to be as long as lines may be."""

_NAME = re.compile(r"[a-z][a-z0-9]*([_-][a-z0-9]+)*", re.ASCII)


def identifier(name: str, what: str) -> str:
    """A name as Python has it. Raises `ProjectError` for one that would not do."""
    if _NAME.fullmatch(name) is None or len(name) > MOST:
        raise ProjectError(f"{what} {name!r}: lower case letters and digits, _ or - between words, {MOST} in all")
    made = name.replace("-", "_")
    if keyword.iskeyword(made) or keyword.issoftkeyword(made):
        raise ProjectError(f"{what} {name!r} is a word of Python: choose another")
    return made


def check_free(package: str) -> None:
    """Raise `ProjectError` where the name of a package is taken by another one, which would be imported for it."""
    if find_spec(package) is not None:
        raise ProjectError(f"there is a module {package} already, in Python or installed: choose another name")


def camel(name: str) -> str:
    """A name as that of a class: `gift_card` is `GiftCard`."""
    return "".join(part.capitalize() for part in name.split("_"))


def template(name: str) -> Traversable:
    """A folder of templates."""
    return files("streams.projects").joinpath("template", name)


def rendered(file: Traversable, names: dict[str, str]) -> str:
    """A template with names in place of `{{..}}`."""
    return re.sub(r"\{\{(\w+)\}\}", lambda found: names[found[1]], file.read_text("utf-8"))


def write_all(source: Traversable, target: Path, names: dict[str, str]) -> list[Path]:
    """Write all files of a folder of templates; the folder `package` is the package, `.txt` at the end is left out."""
    written = []
    for entry in sorted(source.iterdir(), key=lambda entry: entry.name):
        name = names["package"] if entry.name == "package" else entry.name.removesuffix(".txt")
        if name.startswith("dot-"):  # packages leave out what begins with a dot
            name = f".{name.removeprefix('dot-')}"
        if entry.is_dir():
            written += write_all(entry, target / name, names)
        else:
            written.append(write(target / name, rendered(entry, names)))
    return written


def write(path: Path, text: str) -> Path:
    """Write a file that is not there yet. Raises `ProjectError` where it is."""
    if path.exists():
        raise ProjectError(f"{path} is there already: nothing is written over")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def add_line(path: Path, package: str, statement: str, names: str, element: str) -> None:
    """Import something in a file, in order, and put an element at the end of one of its lists.

    Raises `ProjectError` where the file has no such list.
    """
    lines = path.read_text("utf-8").splitlines()
    try:
        start = next(at for at, line in enumerate(lines) if re.match(rf"{names}\b.*= \[$", line))
        end = lines.index("]", start)
    except (StopIteration, ValueError):
        raise ProjectError(f"{path} has no list {names}, one line each: add {element} by hand") from None
    lines.insert(end, f"    {element},")
    ours = [at for at, line in enumerate(lines) if re.match(rf"(from|import) {package}\b", line)]
    if not ours:
        last = max(at for at, line in enumerate(lines) if line.startswith(("from ", "import ")))
        lines[last + 1 : last + 1] = ["", statement]
    elif statement not in lines:
        behind = next((at for at in ours if _order(lines[at]) > _order(statement)), ours[-1] + 1)
        lines.insert(behind, statement)
    path.write_text("\n".join(lines) + "\n", "utf-8")


def _order(statement: str) -> tuple[bool, str]:
    """As imports are sorted: `import ..` first, then by module."""
    return statement.startswith("from"), statement.split()[1]
