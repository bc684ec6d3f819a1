"""Dead letters as the owner of a log writes them, of a bug that has been mended since."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.e2e.system import System

TRACE = """Traceback (most recent call last):
  File "/app/aggregates/shop/order.py", line 81, in decide
    return [LineAdded(line.sku, line.quantity, total / line.quantity)]
ZeroDivisionError: division by zero
"""


async def line_raised(system: System, order: str, id: str, data: Any, message: str) -> None:
    """A command to add a line, of this id, over which the domain of orders has raised."""
    now = str(int(time.time() * 1000))
    reason = {"dl_type": "DomainError", "dl_message": message, "dl_time": now, "dl_id": id, "dl_trace": TRACE}
    headers = {"ce_id": id, "ce_type": "AddLine", "content-type": "application/json", **reason}
    encoded = [(name, text.encode()) for name, text in headers.items()]
    topic, value = system.topic("order-dead-letters"), json.dumps(data).encode()
    await system.producer.send_and_wait(topic, value, key=order.encode(), headers=encoded)
