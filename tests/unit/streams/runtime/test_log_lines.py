"""Nobody writes lines of his own into the log by an id, nor moves the cursor of who reads it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from streams.runtime.log_lines import one_line_each


@pytest.fixture(autouse=True)
def lines() -> Iterator[None]:
    before = logging.getLogRecordFactory()
    one_line_each()
    one_line_each()  # a second app of the process
    yield
    logging.setLogRecordFactory(before)


@pytest.mark.parametrize("id", ["a\nERROR all is lost", "a\r\x1b[2J", "a\u2028b", "a\x00", "\ud800", "\u202e"])
@pytest.mark.parametrize("name", ["streams.deciding.command_handler", "projections.applying.fold"])
def test_ids_are_escaped(caplog: pytest.LogCaptureFixture, name: str, id: str) -> None:
    """What cannot be printed stands there as its escape sequence, in the id, an error's text or the message itself."""
    log = logging.getLogger(name)
    log.error("%s waits", id)
    log.error("it waits: %s", ValueError(id))
    log.error(f"{id} waits")
    for text in caplog.messages:
        assert text.isprintable(), text
        assert "\\" in text


def test_the_rest_stays(caplog: pytest.LogCaptureFixture) -> None:
    """Letters of all languages do, as do other libraries' records, and stack traces."""
    logging.getLogger("streams.deciding.command_handler").error("%s wartet: %r", "Bücher-订单", "a\nb")
    logging.getLogger("mode").error("one\ntwo")
    assert ["Bücher-订单 wartet: 'a\\nb'", "one\ntwo"] == caplog.messages
    try:
        raise ValueError("a")
    except ValueError:
        logging.getLogger("streams.deciding.command_handler").exception("raised")
    assert 3 < caplog.text.count("\n")
