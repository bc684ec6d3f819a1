"""The tests of `tests/e2e` that mean nothing on secured servers, each with the reason."""

from __future__ import annotations

OWN = "has tokens, grants and certificates of its own"
SAME_MISTAKE = "an administrator sets up by the same mistake"
REASONS: dict[str, str] = {
    "test_access.py": OWN,
    "test_rules.py": OWN,
    "test_audit.py": OWN,
    "test_bad_input.py::test_reply_topic_is_made": "workers have no right to make topics",
    "test_belonging.py::test_an_empty_journal_beside_full_topics": SAME_MISTAKE,
    "test_belonging.py::test_namespaces_that_share_a_journal": SAME_MISTAKE,
    "test_least_rights.py": "writes down what workers do where everything is allowed",
    "test_new_aggregate.py": "follows a page to the letter, whose servers are open",
    "test_openapi.py::test_no_order_breaks_the_projections": "test_access.py has schemathesis ask as everybody",
    "test_openapi.py::test_no_request_breaks_a_view": "test_access.py has schemathesis ask as everybody",
    "test_topics.py::test_topics_are_made_before_the_first_message": "an administrator makes them, and more",
}
"""By file, or by file and test."""
FILES = frozenset({"test_one_partition.py", "test_spare.py", "test_belonging.py"})
"""Those that look into the files of SQLite. Other journals that are files elsewhere are in Cassandra here."""


def reason(file: str, test: str) -> str:
    """Why a test is left out; empty where it is not."""
    return REASONS.get(file) or REASONS.get(f"{file}::{test}", "")
