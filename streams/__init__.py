"""The write side: `ownership` takes groups and commits them, `deciding` decides them, `journal` keeps and fences.

`kafka`, `runtime`, `web`, `cli` and `concurrency` serve the read side as well; `projects` is the console script.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streams.aggregate_type import AggregateType
    from streams.app import command_app
    from streams.foreign_type import ForeignType
    from streams.runtime.preparation import stop_on_user_error
    from streams.settings import Settings, SettingsError

__all__ = ["AggregateType", "ForeignType", "Settings", "SettingsError", "command_app", "stop_on_user_error"]

_WHERE = {
    "AggregateType": "streams.aggregate_type",
    "ForeignType": "streams.foreign_type",
    "Settings": "streams.settings",
    "SettingsError": "streams.settings",
    "command_app": "streams.app",
    "stop_on_user_error": "streams.runtime.preparation",
}
"""By public name its module, which is imported when the name is used: most of this package needs little of the rest."""


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(_WHERE[name]), name)
