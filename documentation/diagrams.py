"""What draws the diagrams in a browser: Mermaid, which stands in the site beside the pages that have some.

The theme would have each reader's browser fetch it from elsewhere, and show its text where that cannot be reached.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path

VERSION = "12.3.0"
"""Of the major one that the theme was made for."""
SHA256 = "336df803d87a38b70a01e736e666c8f7601d2ce42f5e47c8fafe5d721074b9a3"
SCRIPT = "package/dist/mermaid.min.js"
LICENCE = b"/* Mermaid, MIT License, Copyright (c) 2014 - 2022 Knut Sveidqvist */\n"
ASSET = Path("assets", "javascripts", "mermaid.min.js")
_DIAGRAM = '<pre class="mermaid">'
_THEME = re.compile(r'(?=<script src="(?P<up>[./]*)assets/javascripts/bundle\.)')


class NotToBeHad(Exception):
    """Mermaid cannot be fetched; the message says why."""


def mermaid(folder: Path) -> bytes:
    """The script, which npm fetches once into `folder`. Raises `NotToBeHad`."""
    kept = folder / f"mermaid-{VERSION}.min.js"
    if kept.is_file() and hashlib.sha256(kept.read_bytes()).hexdigest() == SHA256:
        return kept.read_bytes()
    if shutil.which("npm") is None:
        raise NotToBeHad("there is no npm")
    with tempfile.TemporaryDirectory() as place:
        pack = ["npm", "pack", f"mermaid@{VERSION}", "--silent", "--pack-destination", place]
        done = subprocess.run(pack, cwd=place, capture_output=True, text=True, check=False)
        if done.returncode:
            raise NotToBeHad(f"npm: {(done.stderr or done.stdout).strip().splitlines()[-1:]}")
        with tarfile.open(Path(place) / f"mermaid-{VERSION}.tgz") as archive:
            member = archive.extractfile(SCRIPT)
            script = member.read() if member else b""
    if hashlib.sha256(script).hexdigest() != SHA256:
        raise NotToBeHad(f"{SCRIPT} of mermaid {VERSION} is another than it was")
    folder.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(script)
    return script


def keep(site: Path, script: bytes) -> list[str]:
    """Have the pages of a site that show diagrams draw them with this script; their names."""
    drawn = []
    for page in sorted(site.rglob("*.html")):
        text = page.read_text("utf-8")
        if _DIAGRAM not in text:
            continue
        # Before the theme's own, which asks elsewhere only where it finds none.
        told = _THEME.sub(rf'<script src="\g<up>{ASSET.as_posix()}"></script>', text, count=1)
        if told == text:
            raise ValueError(f"{page}: the script of the theme is not where it was")
        page.write_text(told, "utf-8")
        drawn.append(os.path.relpath(page, site))
    (site / ASSET).write_bytes(LICENCE + script)
    return drawn
