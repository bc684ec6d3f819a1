"""`python -m documentation`: the site in `build/site`. A link that leads nowhere ends it with 1."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from documentation import api, diagrams
from documentation.layout import lay, with_all
from documentation.reference import pages

ROOT = Path(__file__).parents[1]


def build(into: Path, made: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Lay the pages in `into/build/docs`, and have zensical make the site of them in `into/build/site`.

    `made`: further pages, by name. REPOSITORY, where it is set, is where files are seen."""
    folder = into / "build"
    lay(ROOT, folder / "docs", made, os.environ.get("REPOSITORY", ""))
    pages = [file.relative_to(folder / "docs").as_posix() for file in sorted((folder / "docs").rglob("*.md"))]
    (folder / "mkdocs.yml").write_text(with_all((ROOT / "mkdocs.yml").read_text("utf-8"), pages), "utf-8")
    zensical = Path(sys.executable).with_name("zensical")
    run = [str(zensical), "build", "--strict", "--clean"]
    environment = {**os.environ, "NO_COLOR": "1"}
    return subprocess.run(run, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def main() -> int:
    """Make the site of this repository."""
    built = build(ROOT, pages() | api.pages())
    if built.returncode:
        print((built.stdout + built.stderr).partition("Traceback")[0], file=sys.stderr)
        return 1
    try:
        diagrams.keep(ROOT / "build" / "site", diagrams.mermaid(ROOT / "build"))
    except diagrams.NotToBeHad as error:
        print(f"diagrams are drawn where a reader's browser can fetch Mermaid: {error}", file=sys.stderr)
    print("build/site/index.html")
    return 0


if __name__ == "__main__":
    sys.exit(main())
