"""Logs of a library that says the same again and again."""

from __future__ import annotations

import logging

import pytest

from streams.runtime.log_lines import quieten


def test_a_message_is_heard_once_in_a_while(caplog: pytest.LogCaptureFixture) -> None:
    """What one line of code says passes once, whatever the arguments; other lines and other loggers pass too."""
    talker, other = logging.getLogger("talkative.client"), logging.getLogger("talkativeness")
    quieten("talkative")
    for number in range(3):
        talker.error("no connection to %d", number)
        talker.error("no metadata")
        other.error("no connection to %d", number)
    assert ["no connection to 0", "no metadata"] == [r.getMessage() for r in caplog.records if r.name == talker.name]
    assert 3 == sum(record.name == other.name for record in caplog.records)
