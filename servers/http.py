"""GET from servers on this machine, with the standard library."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any

_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy has no business with 127.0.0.1


class NoAnswer(Exception):
    """The answer is not the JSON that was asked for; the message has the answer."""


def status(url: str, timeout: float = 2.0) -> int | None:
    """The HTTP status; None when nothing answers."""
    try:
        with _opener.open(url, timeout=timeout) as response:
            return int(response.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code
    except (OSError, HTTPException):
        return None


def get_json(url: str, timeout: float = 10.0, patience: float = 20.0) -> Any:
    """The answer's JSON; asks again for `patience` seconds while the server is not ready. Raises `NoAnswer`."""
    deadline = time.monotonic() + patience
    while True:
        try:
            with _opener.open(url, timeout=timeout) as response:
                return json.load(response)
        except urllib.error.HTTPError as error:
            with error:
                why, later = f"status {error.code}: {error.read(300).decode(errors='replace')}", error.code == 503
        except ValueError:
            raise NoAnswer(f"{url}: not JSON") from None
        except (OSError, HTTPException) as error:
            why, later = str(error) or type(error).__name__, True
        if not later or time.monotonic() > deadline:
            raise NoAnswer(f"{url}: {why}")
        time.sleep(0.5)
