"""The file of grants: who has which role in which context. TOML:

[[grants]]
to = ["oidc:alice", "group:staff", "token:ci", "cert:gateway"]
role = "commander"
contexts = ["orders"]
commands = ["OpenOrder", "PlaceOrder"]
keys = ["{sub}-*"]
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated

import msgspec

from streams.access.principal import Need, Principal, Role

EVERYONE = "*"
_SUBJECT = r"^((token|oidc|cert|group):.+|\*)$"
_SUB = "{sub}"
_PARTS = re.compile(r"(\*|\{sub\})")

Some = Annotated[list[Annotated[str, msgspec.Meta(min_length=1)]], msgspec.Meta(min_length=1)]


class Grant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A role for some. `*` among `contexts` is each of them, among `to` everybody who has said who he is.

    `commands` and `keys` are a commander's: by name, and by patterns, in which `*` stands for any characters and
    `{sub}` for the name of who asks.
    """

    to: Annotated[list[Annotated[str, msgspec.Meta(pattern=_SUBJECT)]], msgspec.Meta(min_length=1)]
    role: Role
    contexts: Some
    commands: Some = msgspec.field(default_factory=lambda: [EVERYONE])
    keys: Some = msgspec.field(default_factory=lambda: [EVERYONE])

    def __post_init__(self) -> None:
        if self.role is not Role.COMMANDER and (self.commands, self.keys) != ([EVERYONE], [EVERYONE]):
            raise ValueError(f"commands and keys are of commanders: a {self.role} has all")

    def is_to(self, principal: Principal) -> bool:
        """Whether somebody has it."""
        subjects = str(principal), *(f"group:{group}" for group in principal.groups), EVERYONE
        return any(subject in self.to for subject in subjects)

    def gives(self, role: Role, context: str) -> bool:
        """Whether it is this role in this context. An operator may see what an auditor sees."""
        is_role = self.role is role or (role is Role.AUDITOR and self.role is Role.OPERATOR)
        return is_role and (context in self.contexts or EVERYONE in self.contexts)

    def covers(self, principal: Principal, command: str, key: str) -> bool:
        """Whether it is for this command to the aggregate of this id."""
        return (command in self.commands or EVERYONE in self.commands) and any(
            _matches(pattern, key, principal.name) for pattern in self.keys
        )


class _File(msgspec.Struct, forbid_unknown_fields=True):
    grants: list[Grant]


class Grants:
    """All grants."""

    def __init__(self, grants: Sequence[Grant]) -> None:
        self._grants = grants

    @classmethod
    def read(cls, text: str) -> Grants:
        """Those of a file. Raises `ValueError`."""
        try:
            return cls(msgspec.toml.decode(text, type=_File).grants)
        except RecursionError:
            raise ValueError("it is nested too deeply") from None

    def allow(self, principal: Principal, need: Need) -> bool:
        """Whether somebody has the right that a route needs. Of a commander the command is to be looked at, too."""
        if need.role is None:
            return True
        return any(
            grant.gives(need.role, context) and grant.is_to(principal)
            for grant in self._grants
            for context in need.contexts
        )

    def allow_command(self, principal: Principal, context: str, command: str, key: str) -> bool:
        """Whether somebody may send a command to the aggregate of a context that has this id."""
        return any(
            grant.gives(Role.COMMANDER, context) and grant.is_to(principal) and grant.covers(principal, command, key)
            for grant in self._grants
        )


def _matches(pattern: str, key: str, sub: str) -> bool:
    forms = {"*": ".*", _SUB: re.escape(sub)}
    form = "".join(forms.get(part) or re.escape(part) for part in _PARTS.split(pattern))
    return re.fullmatch(form, key, re.DOTALL) is not None
