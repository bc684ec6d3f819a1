"""The tests of `tests/e2e` that mean nothing on secured servers, each with the reason."""

from __future__ import annotations

REASONS: dict[str, str] = {
    "test_access.py": "has tokens, grants and certificates of its own",
    "test_least_rights.py": "writes down what workers do where everything is allowed",
    "test_new_aggregate.py": "follows a page to the letter, whose servers are open",
    "test_openapi.py::test_no_request_breaks_a_view": "test_access.py has schemathesis ask as everybody",
    "test_openapi.py::test_no_order_breaks_the_projections": "likewise",
}
"""By file, or by file and test."""
FILES = frozenset({"test_one_partition.py", "test_spare.py", "test_belonging.py"})
"""Those that look into the files of SQLite. Other journals that are files elsewhere are in Cassandra here."""


def reason(file: str, test: str) -> str:
    """Why a test is left out; empty where it is not."""
    return REASONS.get(file) or REASONS.get(f"{file}::{test}", "")
