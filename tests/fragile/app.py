"""The ledger as a Faust app; its bug is mended when the file that `LEDGER_MENDED` names is there."""

import os
from pathlib import Path

from streams.app import command_app
from tests.fragile.ledger import SCHEMAS, ledger

app = command_app(
    __name__, "ledgers", ledger(Path(os.environ.get("LEDGER_MENDED", "/nowhere")).exists), schema_root=SCHEMAS
)
