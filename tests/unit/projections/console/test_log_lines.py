"""Each line of "What the log says" that is for people is a finding of the verdict; of the others it is said why not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from projections.console.findings.notices import MEANINGS
from streams.notices import Kind

ROOT = Path(__file__).parents[4]
NONE = "none: "
COURSE = NONE + "the course of things"
ENDS = NONE + "the worker ends, and whoever has started it is told; that it is not there is one"
WHAT_ELSE = NONE + "another line says what it is about"

LINES: list[tuple[str, str]] = [
    ("`order@1: taken over from", COURSE),
    ("`the end takes more than 8 s", ENDS),
    ("`order@1: given up: assigned to another worker`", COURSE),
    ("`order@1: given up: sealed", COURSE),
    ("`the worker at 10.0.0.7:6062 has gone", "said:worker-gone"),
    ("`order@1: given up: fenced", "said:fenced"),
    ("`..: waiting for it, since 15 s`", "said:waiting"),
    ("`..: it answers again", COURSE),
    ("`order@1 waits, and is tried again by itself", "log-unserved"),
    ("`order@1: given up: what follows from its commits", "log-unserved"),
    ("`order@1: no snapshot of '536365'", "said:no-snapshot"),
    ("`order-commands has 16 partitions", "worker-trouble"),
    ("`.. failed, and begins again", "worker-trouble"),
    ("`reading .. failed, and is begun again", "said:reading-failed"),
    ("`Kafka answers, and this worker has been no member", ENDS),
    ("`error: datadir .. is in use", ENDS),
    ("`..: given up: in the middle of a group", COURSE),
    ("`..: given up: offset 12 came where 10 was due", COURSE),
    ("`order-2: its events are published up to 15:0", "ahead"),
    ("`Cassandra: the host .. is down`", "said:host-down"),
    ("`..: the command topic was deleted and made again", "said:topic-made-again"),
    ("`..: given up: the command topic ends before offset 36", "said:commands-lost"),
    ("`..: Kafka had lost commands before offset 60", "said:commands-lost"),
    ("`order-17 waits, and is tried again by itself: an event", "slice-held"),
    ("`order-events-3 takes nothing", "unpublished"),
    ("`order-commands has no leader of partition 3", "worker-trouble"),
    ("`order-3: events wait, nothing is lost: schema", "said:waiting"),
    ("`..: command .. raised`", "dead-letters"),
    ("`order-3: 536365 goes into quarantine", "quarantine"),
    ("`order-3: 536365 leaves quarantine", COURSE),
    ("`order-3: the dead letter 3:17 is dropped for token:alice`", COURSE),
    ("`..: given up: the owner failed", "said:owner-failed"),
    ("`checkout-checkout-hears: StartCheckout for b'7'", "dead-letters"),
    ("`checkout-checkout-hears: order-events-3 stands still", "input-held"),
    ("`checkout-3: sending what commit 17", "said:waiting"),
    ("`<topic>-<partition>: the record at offset .. cannot be read", "said:strangers-record"),
    ("`<topic>-<partition>: offset .. is no event of ours", "said:strangers-record"),
    ("`order-events: Kafka keeps fewer than 3 copies, ..`", "said:topic-copies"),
    ("`topic .. has message.timestamp.type=CreateTime`", "said:topic-clock"),
    ("`no replies to ..: it is not a legal name", "said:no-replies"),
    ("`there is no topic ..: a command for", "dead-letters"),
    ("`order-3 events wait, nothing is lost: ..`", "held"),
    ("`order-3: orders-2 falls behind", "held"),
    ("`orders-2: 536365 waits at", "key-waits"),
    ("`order-3: the topic lacks what is before", COURSE),
    ("`10.0.0.5 has 1000 connections", "said:client-connections"),
    ("`HTTP_GRANTS_FILE=..; what stood there before", "said:file-unreadable"),
    ("`the keys of https://.. cannot be read", "said:keys-unreadable"),
    ("`keys of persons cannot be renewed", "said:keys-not-renewed"),
    ("`keys of persons: period 3", COURSE),
    ("`tokens come to this port in the clear", "said:tokens-in-clear"),
    ("`pause of orders, ordered by", "paused"),
    ("`http://..:6066 answered 403", "said:worker-disbelieved"),
    ("`16384 connections are open", "said:connections-full"),
    ("`orders: table orders-2 answers now", "to-drop"),
    ("`table order-rows-2: out of service", "said:table-damaged"),
    ("`table order-rows-2: made again from the changelog", "said:table-damaged"),
    ("`table orders-2 has nothing of order-3", "said:rows-gone"),
    ("`error: ..: No space left on device", ENDS),
    ("`.. a record of N bytes, and TOPIC takes M", "unpublished"),
    ("`.. the record at offset N of its events is none", "said:strangers-record"),
    ("`N records of the changelog are none of a table`", "said:strangers-record"),
    ("lines of `aiokafka`", WHAT_ELSE),
    ("`no replies to '..': ..`, `.. messages to .. are lost`", "said:replies-lost"),
]
"""How each line of the table begins, in its order, and with what the id of its finding does."""


def lines_of_the_log() -> list[str]:
    """The first column of the table in docs/operations.md."""
    text = (ROOT / "docs/operations.md").read_text("utf-8").partition("\n## What the log says\n")[2]
    rows = [line for line in text.partition("\n## ")[0].splitlines() if line.startswith("| ")]
    return [row.removeprefix("| ").partition(" | ")[0] for row in rows[1:]]


def ids_in_the_docs() -> list[str]:
    """With what the ids of findings begin, as the table in docs/console.md says."""
    text = (ROOT / "docs/console.md").read_text("utf-8").partition("| id begins with |")[2].partition("\n\n")[0]
    return [id for line in text.splitlines()[2:] for id in re.findall(r"`([^`]+)`", line.split("|")[1])]


def test_every_line_has_its_finding() -> None:
    """Whoever adds a line says here which finding it has, or why it is none."""
    lines = lines_of_the_log()
    unknown = [line for line in lines if not any(line.startswith(known) for known, _ in LINES)]
    gone = [known for known, _ in LINES if not any(line.startswith(known) for line in lines)]
    assert ([], []) == (unknown, gone)


@pytest.mark.parametrize("id", sorted({id for _, id in LINES if not id.startswith(NONE)}))
def test_every_finding_of_a_line_is_in_the_docs(id: str) -> None:
    """The verdict's table in docs/console.md says what it means."""
    assert id in ids_in_the_docs()


def test_every_kind_of_notice_has_a_meaning() -> None:
    """What a worker may say is said to people in a sentence, with what is to be done; and stands in docs/console.md."""
    assert {*get_args(Kind)} == {*MEANINGS}
    assert {f"said:{kind}" for kind in MEANINGS} == {id for id in ids_in_the_docs() if id.startswith("said:")}
