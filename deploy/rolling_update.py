"""A rolling update in the right order: `python -m deploy.rolling_update --restart 'systemctl restart sourced@{name}' \\
--worker projections=http://127.0.0.1:6066 --worker orders=http://127.0.0.1:6062 ..`.

Workers are restarted one after another, the read side first: a new reader reads what old writers write, and an old one
waits where a new writer wrote what it must not read (docs/evolution.md). Nobody is restarted before all are ready, and
none after one that is not ready again in time. Whatever breaks it off, nothing is lost: old and new versions go on side
by side, and the same line goes on with it, if some that have the new version already may be restarted once more.
"""

from __future__ import annotations

import argparse
import json
import os
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable
from dataclasses import dataclass

LOOK_SECONDS = 0.5
LOOKS = 3
"""So often in a row all are to be ready: a worker that has joined moves logs of the others a moment later."""
REQUEST_SECONDS = 5.0


class UpdateError(Exception):
    """Why it does not go on, in one line."""


@dataclass(frozen=True)
class Place:
    """A worker: how whoever restarts it calls it, and where it is asked."""

    name: str
    url: str

    @classmethod
    def of(cls, text: str) -> Place:
        """`NAME=URL`. Raises `ValueError`."""
        name, equals, url = text.partition("=")
        if not name or not equals or not url.startswith(("http://", "https://")):
            raise ValueError(text)
        return cls(name, url.rstrip("/"))


class Workers:
    """The workers of a system, and how they are."""

    def __init__(self, places: Iterable[Place], seconds: float, authority: str = "") -> None:
        """`seconds`: how long a worker may take to be ready. `authority`: whose certificates are trusted besides."""
        self._places = list(places)
        self._seconds = seconds
        self._tls = ssl.create_default_context(cafile=authority or None)
        if authority:
            self._tls.load_default_certs()

    def in_order(self) -> list[Place]:
        """The read side first; among these, and among the others, as they were named. Raises `UpdateError`."""
        decide = {}
        for place in self._places:
            trouble, decides = self._look(place)
            if trouble:
                raise UpdateError(f"{place.name} is not ready before the update: {trouble}")
            decide[place] = decides
        return sorted(self._places, key=lambda place: decide[place])

    def wait(self, after: Place) -> None:
        """Return when all of them are ready, and stay so. Raises `UpdateError` when that takes too long."""
        deadline, looks = time.monotonic() + self._seconds, 0
        while True:
            troubles = [(place, trouble) for place in self._places if (trouble := self._look(place)[0])]
            looks = 0 if troubles else looks + 1
            if looks == LOOKS:
                return
            if time.monotonic() > deadline:
                place, said = troubles[0] if troubles else (after, "it does not stay ready")
                raise UpdateError(
                    f"{place.name} is not ready {self._seconds:g} s after {after.name} was restarted: {said}"
                )
            time.sleep(LOOK_SECONDS)

    def _look(self, place: Place) -> tuple[str, bool]:
        """Why it is not ready, empty when it is; and whether it decides commands: only such a one names logs."""
        try:
            asked = urllib.request.urlopen(f"{place.url}/health/ready", timeout=REQUEST_SECONDS, context=self._tls)
            with asked as answer:
                return "", "logs" in json.load(answer)
        except urllib.error.HTTPError as error:
            try:
                return str(json.load(error).get("detail", error)), False
            except ValueError:
                return str(error), False
        except (OSError, ValueError) as error:
            return str(getattr(error, "reason", error)) or type(error).__name__, False


def run(command: str) -> None:
    """Run a line of the shell. Raises `UpdateError` when it fails."""
    ended = subprocess.run(command, shell=True, check=False)
    if ended.returncode:
        raise UpdateError(f"`{command}` ended with {ended.returncode}")


def update(workers: Workers, restart: str, before: Iterable[str] = ()) -> None:
    """First what is to be done before, such as `setup`; then each worker. Raises `UpdateError`."""
    order = workers.in_order()
    for command in before:
        print(command, flush=True)
        run(command)
    for nr, place in enumerate(order, 1):
        print(f"{nr} of {len(order)}: {place.name}", flush=True)
        run(restart.replace("{name}", place.name))
        workers.wait(place)
    print("all workers are ready", flush=True)


def main() -> int:
    """0 when all is done, 1 when it was broken off, 2 on wrong use."""
    parser = argparse.ArgumentParser(prog="python -m deploy.rolling_update", description=__doc__)
    parser.add_argument("--worker", action="append", type=Place.of, required=True, metavar="NAME=URL")
    parser.add_argument("--restart", required=True, metavar="COMMAND", help="for {name}; returns when it has ended")
    parser.add_argument("--before", action="append", default=[], metavar="COMMAND", help="faust -A .. setup")
    parser.add_argument("--seconds", type=float, default=120.0, help="how long a worker may take to be ready")
    options = parser.parse_args()
    if "{name}" not in options.restart:
        parser.error("--restart: say {name} where the name of the worker is to be")
    try:
        update(
            Workers(options.worker, options.seconds, os.environ.get("HTTP_CA_FILE", "")),
            options.restart,
            options.before,
        )
    except UpdateError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
