"""`python -m tests.package.five_minutes`: what `docs/start.md` shows, typed by a program; with times.

The wheel is built of this tree, and pip installs it into a new venv with all that it depends on, as it would anywhere.
The servers of the last part have to run: `make up`. How long a reader types is not in the times; it is counted what.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import re
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from tests.browser.site_pictures import take
from tests.e2e.system import ROOT, System
from tests.package.follower import Follower
from tests.package.wheel import build
from tests.pages import Step, steps

PAGE = ROOT / "docs" / "start.md"
CASSANDRA = "cassandra://127.0.0.1:9042"
NEXT = "\n\n"
SHOWN = 12
"""Lines of an output, at most."""


class Transcript:
    """What was done, when it was over, and what was said."""

    def __init__(self, hidden: dict[str, str]) -> None:
        self._hidden = hidden
        self._began = self._last = time.monotonic()
        self.rows: list[tuple[str, float, float]] = []
        self.said: list[str] = []

    def told(self, step: Step, said: str) -> None:
        """One step is done."""
        if step.kind == "output":
            return
        now = time.monotonic()
        took, self._last = now - self._last, now
        what = f"{step.file}: {lines(step.text)} lines" if step.kind == "file" else command(step.text)
        what, said = self._plain(what), self._plain(said)
        self.rows.append((what, took, now - self._began))
        print(f"{now - self._began:6.1f} s  {what}", flush=True)
        if step.kind != "file":
            shown = said.strip().splitlines()
            cut = [*shown[: SHOWN - 1], f".. ({len(shown) - SHOWN + 1} lines more)"] if len(shown) > SHOWN else shown
            self.said.append("\n".join([f"[{now - self._began:6.1f} s]", *prompted(self._plain(step.text)), *cut]))

    def go_on(self) -> None:
        """What was done in between is not in the times."""
        now = time.monotonic()
        self._began, self._last = self._began + now - self._last, now

    def _plain(self, text: str) -> str:
        for name, shown in self._hidden.items():
            text = text.replace(name, shown)
        return text.strip()


def lines(text: str) -> int:
    """Those that are not empty."""
    return sum(1 for line in text.splitlines() if line.strip())


def command(text: str) -> str:
    """Commands in a line."""
    return "; ".join(line for line in re.sub(r" *\\\n *", " ", text).splitlines() if line)


def cell(text: str) -> str:
    """As it may stand in a table."""
    return text.replace("|", "\\|")


def prompted(text: str) -> list[str]:
    return [f"$ {line}" for line in re.sub(r" *\\\n *", " ", text).splitlines() if line]


def report(transcript: Transcript, wheel: Path) -> str:
    """All of it as a page."""
    files = [step for step in steps(PAGE.read_text("utf-8")) if step.kind == "file"]
    typed = "".join(step.text for step in steps(PAGE.read_text("utf-8")) if step.kind in ("file", "bash", "worker"))
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    before = next(at for what, _, at in transcript.rows if what.endswith("--servers"))
    took = next(took for what, took, _ in transcript.rows if what.endswith("--servers"))
    machine = f"{os.cpu_count()} cores, {memory:.0f} GiB, {platform.system()}, Python {platform.python_version()}"
    parts = ", ".join(f"{Path(step.file).name} {lines(step.text)}" for step in files)
    total = sum(lines(step.text) for step in files)
    head = f"""# Five minutes, {datetime.now(UTC):%Y-%m-%d %H:%M} UTC

`python -m tests.package.five_minutes`, on {machine}; load {os.getloadavg()[0]:.1f} when it ended.
{wheel.name} was built before the clock was started; pip installed what it depends on, and may have had it in its cache.

Without any server: **{before - took:.0f} s** of the machine, from the empty folder to the last answer. By hand are
{total} lines in {len(files)} files ({parts}), {len(typed):,} characters with all commands.
A reader pastes them, or types for as long as he types.

| done | took | at |
|---|---|---|
"""
    rows = "".join(f"| `{cell(what)}` | {took:.1f} s | {at:.1f} s |\n" for what, took, at in transcript.rows)
    return f"{head}{rows}\nWhat was said:\n\n```text\n{NEXT.join(transcript.said)}\n```\n"


async def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.package.five_minutes", description=__doc__)
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the transcript")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="take the picture of the console")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        wheel = build(root)
        system = System(root, f"{CASSANDRA}/shop")
        await system.open()
        (root / "empty").mkdir()
        hidden = {f"{wheel}[cassandra]": "sourced-streams[cassandra]", system.namespace: ""}
        transcript = Transcript(hidden)
        follower = Follower(root / "empty", None, {"NAMESPACE": system.namespace}, transcript.told)
        hidden |= {str(follower.port + distance): str(6072 + distance) for distance in range(-4, 5)}
        hidden[str(root / "empty")] = "~"
        page = PAGE.read_text("utf-8").replace("'sourced-streams[cassandra]'", f"'{wheel}[cassandra]'")
        without, title, servers = page.partition("## On Kafka and Cassandra")
        try:
            await asyncio.to_thread(follower.follow, without)
            if options.picture:
                address = f"{follower.url}/console#/aggregate/voucher/V-1?at=2"
                await take({options.picture: address}, ".state ins, .state del")
                transcript.go_on()
            await asyncio.to_thread(follower.follow, title + servers)
        finally:
            await asyncio.to_thread(follower.end)
            await system.close()
        if options.report:
            options.report.write_text(report(transcript, wheel), "utf-8")


if __name__ == "__main__":
    asyncio.run(main())
