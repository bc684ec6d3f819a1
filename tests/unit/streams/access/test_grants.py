"""Who may do what: roles in contexts, and of commanders the commands and the keys."""

from __future__ import annotations

import pytest

from streams.access.grants import Grants
from streams.access.principal import Need, Principal, Role

FILE = """
[[grants]]
to = ["oidc:alice", "group:staff"]
role = "reader"
contexts = ["orders"]

[[grants]]
to = ["*"]
role = "commander"
contexts = ["orders"]
commands = ["OpenOrder", "PlaceOrder"]
keys = ["{sub}-*", "shared"]

[[grants]]
to = ["token:ops"]
role = "operator"
contexts = ["*"]

[[grants]]
to = ["cert:watch"]
role = "auditor"
contexts = ["projections"]
"""
ALICE, STAFF, OPS = Principal("oidc", "alice"), Principal("oidc", "carol", ("staff",)), Principal("token", "ops")


@pytest.fixture
def grants() -> Grants:
    return Grants.read(FILE)


def test_roles(grants: Grants) -> None:
    """A role is one in its contexts alone; who is an operator is an auditor as well, and nothing else."""
    orders, users = Need(Role.READER, ("orders",)), Need(Role.READER, ("users",))
    assert grants.allow(ALICE, orders)
    assert grants.allow(STAFF, orders)
    assert grants.allow(ALICE, Need(Role.READER, ("users", "orders")))
    assert not grants.allow(ALICE, users)
    assert not grants.allow(OPS, orders)
    for role in (Role.OPERATOR, Role.AUDITOR):
        assert grants.allow(OPS, Need(role, ("projections",)))
        assert not grants.allow(ALICE, Need(role, ("orders",)))
    assert grants.allow(Principal("cert", "watch"), Need(Role.AUDITOR, ("projections",)))
    assert not grants.allow(Principal("cert", "watch"), Need(Role.OPERATOR, ("projections",)))
    assert grants.allow(Principal("cert", "anybody"), Need())


def test_kinds_of_names(grants: Grants) -> None:
    """A token is nobody else because it has his name; nor is who is in a group of his name."""
    reader = Need(Role.READER, ("orders",))
    for principal in (Principal("token", "alice"), Principal("cert", "alice"), Principal("oidc", "x", ("alice",))):
        assert not grants.allow(principal, reader)
    assert not grants.allow(Principal("oidc", "staff"), reader)


def test_commands(grants: Grants) -> None:
    """A commander sends the commands of his grant to the keys of his grant; `{sub}` is his own name, whatever is in
    it."""
    assert grants.allow_command(ALICE, "orders", "OpenOrder", "alice-1")
    assert grants.allow_command(ALICE, "orders", "PlaceOrder", "shared")
    for context, command, key in (
        ("users", "OpenOrder", "alice-1"),
        ("orders", "CancelOrder", "alice-1"),
        ("orders", "OpenOrder", "bob-1"),
        ("orders", "OpenOrder", "xalice-1"),
        ("orders", "OpenOrder", "shared2"),
        ("orders", "OpenOrder", ""),
    ):
        assert not grants.allow_command(ALICE, context, command, key), (context, command, key)
    star = Principal("oidc", "*")
    assert grants.allow_command(star, "orders", "OpenOrder", "*-1")
    assert not grants.allow_command(star, "orders", "OpenOrder", "bob-1")
    dotted = Principal("oidc", "a.c")
    assert not grants.allow_command(dotted, "orders", "OpenOrder", "abc-1")
    assert grants.allow_command(ALICE, "orders", "OpenOrder", "alice-\n")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "grants = 1",
        "[[grants]]",
        '[[grants]]\nto = ["oidc:a"]\nrole = "king"\ncontexts = ["orders"]',
        '[[grants]]\nto = ["alice"]\nrole = "reader"\ncontexts = ["orders"]',
        '[[grants]]\nto = []\nrole = "reader"\ncontexts = ["orders"]',
        '[[grants]]\nto = ["oidc:a"]\nrole = "reader"\ncontexts = []',
        '[[grants]]\nto = ["oidc:a"]\nrole = "reader"\ncontexts = ["orders"]\nkeys = ["a"]',
        '[[grants]]\nto = ["oidc:a"]\nrole = "commander"\ncontexts = ["orders"]\nkey = ["a"]',
        "not toml",
    ],
)
def test_what_cannot_be_meant(text: str) -> None:
    """A file with a mistake is none: a right by mistake, or one that is missing, would not be noticed."""
    with pytest.raises(ValueError, match=r"\S"):
        Grants.read(text)


def test_a_file_that_is_nested_without_end() -> None:
    """It is refused like any other that is no file of grants."""
    with pytest.raises(ValueError, match="nested too deeply"):
        Grants.read("grants = " + "[" * 100_000)
