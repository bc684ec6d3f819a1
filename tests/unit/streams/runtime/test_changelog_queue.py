"""Records of changelogs on their way into the tables, when Faust resumes its flow."""

from __future__ import annotations

from pathlib import Path

from streams.runtime.application import Application
from streams.settings import Settings


async def test_records_for_standbys_are_kept(tmp_path: Path) -> None:
    """Resuming what flows already loses no record of a changelog; after it was suspended, as at a rebalance, all are
    dropped, since they are read again. Other queues are emptied each time."""
    app = Application("a.test", "a-test", Settings(data_dir=tmp_path, partitions=1))
    records, others = app.tables.changelog_queue, app.FlowControlQueue(clear_on_resume=True, maxsize=0)
    app.flow_control.resume()
    for queue in (records, others):
        queue.put_nowait("x")
    app.flow_control.resume()
    assert (1, 0) == (records.qsize(), others.qsize())
    app.flow_control.suspend()
    app.flow_control.resume()
    assert 0 == records.qsize()
    records.put_nowait("y")
    app.flow_control.clear()
    assert 0 == records.qsize()
