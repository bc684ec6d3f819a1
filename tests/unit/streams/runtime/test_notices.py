"""What a worker says of itself is kept, bounded, and forgotten where it is over; the log has it as before."""

from __future__ import annotations

import logging

import pytest

from streams.notices import MOST, MOST_TEXT, NOTICES, Notices, say_error, warn

log = logging.getLogger(__name__)


def test_what_is_said_again_is_counted() -> None:
    """With the time of the first and of the last, and the newest text."""
    notices = Notices()
    for text in ("first", "second"):
        notices.note("no-snapshot", "order 7", text)
    [notice] = notices.all
    assert ("no-snapshot", "order 7", "second", 2) == (notice.kind, notice.about, notice.text, notice.times)
    assert notice.first <= notice.last


def test_what_is_over_is_forgotten() -> None:
    """Of the one thing alone, and without a word where nothing was said."""
    notices = Notices()
    for host in ("a", "b"):
        notices.note("host-down", host, "down")
    notices.over("host-down", "a")
    notices.over("host-down", "a")
    assert ["b"] == [notice.about for notice in notices.all]


def test_they_are_bounded() -> None:
    """The newest of them are kept, in so many characters; what a stranger has written moves no cursor."""
    notices = Notices()
    for number in range(MOST + 5):
        notices.note("no-replies", f"{number}", "\x1b[2J" + "x" * 10_000)
    assert (MOST, "5", f"{MOST + 4}") == (len(notices.all), notices.all[0].about, notices.all[-1].about)
    assert notices.all[0].text.startswith("\\x1b[2J")
    assert len(notices.all[0].text) < MOST_TEXT + 10


def test_the_log_has_the_line(caplog: pytest.LogCaptureFixture) -> None:
    """With the level, and the place in the code, of whoever says it."""
    warn(log, "topic-clock", "t-1", "topic %s is %d", "t-1", 7)
    say_error(log, "topic-clock", "t-2", "topic %s", "t-2")
    said = [(it.levelno, it.getMessage(), it.funcName) for it in caplog.records]
    here = "test_the_log_has_the_line"
    assert [(logging.WARNING, "topic t-1 is 7", here), (logging.ERROR, "topic t-2", here)] == said


def test_it_is_kept_though_the_log_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    """The level of the log is for the log."""
    with caplog.at_level(logging.CRITICAL):
        warn(log, "topic-clock", "t-3", "topic %s", "t-3")
    assert [] == caplog.records
    assert "t-3" in {notice.about for notice in NOTICES.all}
