"""What the fuzzer of `test_openapi.py` is told of the data that is there: `schemathesis run` loads it as its hooks.

Half of its requests are for things that exist, else it would see little more than 404. Who reads a position that will
not come waits no time for it, so that the run is short.
"""

from __future__ import annotations

import itertools
import json
import os
from typing import Any

import schemathesis

KNOWN: dict[str, list[str]] = json.loads(os.environ["OPENAPI_KNOWN"])
"""By variable of a path, or header, the values that exist. Under `only` the projections that may be ordered about."""

_calls = itertools.count()


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    """Some of the values that exist instead of made up ones."""
    number = next(_calls)
    variables = case.path_parameters or {}
    if number % 2:
        of = case.operation.path.split("/")[1]
        for name in variables:
            known = KNOWN.get(f"{of}.{name}", [])
            if known:
                variables[name] = known[number // 2 % len(known)]
    if case.method == "POST" and variables.get("name") in KNOWN["projections.name"]:
        variables["name"] = KNOWN["only"][0]
    if case.headers and "At-Least" in case.headers:
        case.headers["Prefer"] = "wait=0"
        if number % 4 == 1:
            case.headers["At-Least"] = KNOWN["At-Least"][0]
