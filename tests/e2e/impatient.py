"""The orders context, whose consumer leaves its group when nobody asks it for records for 3 s: Faust's default, of
1,000 s, in the time that a test has."""

from __future__ import annotations

from streams.shop.orders import app

MAX_POLL_SECONDS = 3.0

app.conf.broker_max_poll_interval = MAX_POLL_SECONDS
