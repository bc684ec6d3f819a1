"""Detached processes by their pid files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from servers import process

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
]


def test_a_process_is_stopped_by_its_pid_file(tmp_path: Path) -> None:
    """SIGTERM first; the file is gone afterwards, and once more does nothing."""
    pid_file = tmp_path / "pid"
    pid = process.spawn(SLEEPER, tmp_path / "log", pid_file)
    assert pid == process.running(pid_file)
    assert process.terminate(pid_file, 10) == "stopped"
    assert process.running(pid_file) is None
    assert process.terminate(pid_file, 10) == "was not running"


def test_a_process_that_does_not_stop_is_killed(tmp_path: Path) -> None:
    """SIGKILL comes when the grace time is over."""
    pid_file, log = tmp_path / "pid", tmp_path / "log"
    process.spawn(STUBBORN, log, pid_file)
    while b"up" not in log.read_bytes():
        time.sleep(0.01)
    assert process.terminate(pid_file, 0.2).startswith("killed")


@pytest.mark.parametrize("content", ["", "x y", "{pid} another-boot/1"])
def test_a_stranger_with_the_same_pid_is_left_alone(tmp_path: Path, content: str) -> None:
    """A stale pid file never leads to a signal, though a process of that number runs."""
    with subprocess.Popen(SLEEPER) as stranger:
        try:
            pid_file = tmp_path / "pid"
            pid_file.write_text(content.format(pid=stranger.pid))
            assert process.running(pid_file) is None
            assert process.kill(pid_file) is False
            assert process.terminate(pid_file, 1) == "was not running"
            assert stranger.poll() is None
        finally:
            stranger.kill()


def test_killed_by_signal_is_not_running(tmp_path: Path) -> None:
    """A crash from outside is seen, though nobody waited for the process."""
    pid_file = tmp_path / "pid"
    os.kill(process.spawn(SLEEPER, tmp_path / "log", pid_file), signal.SIGKILL)
    deadline = time.monotonic() + 10
    while process.running(pid_file) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert process.running(pid_file) is None
