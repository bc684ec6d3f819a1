"""A context whose events have personal fields; CLUB_SCHEMAS names the folder of its schemas."""

import os
from pathlib import Path

from streams.app import command_app
from tests.unit.streams.keys.club import member

app = command_app(__name__, "members", member, schema_root=Path(os.environ["CLUB_SCHEMAS"]), database="club")
