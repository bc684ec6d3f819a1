"""The testing kit: given / when / then, whole systems in memory, and schedules that try everything at once.

No server, no sleep, no mock. `docs/testing.md` shows all of it.
"""

from aggregates.principal import Principal
from aggregates.process_manager import ForeignEvent, Send
from aggregates.specification import NOW, rejected
from sourced.testing.play import Faults, Sent
from sourced.testing.rows import published
from sourced.testing.schedules import Explored, ScheduleFailed, Schedules
from sourced.testing.specification import Upcasting, Written, given, happened
from sourced.testing.system import System

__all__ = [
    "NOW",
    "Explored",
    "Faults",
    "ForeignEvent",
    "Principal",
    "ScheduleFailed",
    "Schedules",
    "Send",
    "Sent",
    "System",
    "Upcasting",
    "Written",
    "given",
    "happened",
    "published",
    "rejected",
]
