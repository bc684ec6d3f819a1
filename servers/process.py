"""Detached processes, each remembered by a pid file.

A pid alone is not enough: after a crash or a reboot it may belong to another process. So the file has the pid and the
start time of the process, and nothing is signalled unless both agree.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

_children: dict[int, subprocess.Popen[bytes]] = {}
"""The children of this process: it must wait for them, or they stay as zombies."""


def spawn(
    command: Sequence[str | Path], log: Path, pid_file: Path, environment: Mapping[str, str] | None = None
) -> int:
    """Start a process that outlives us, in a session of its own, its output appended to `log`. Returns its pid."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        child = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True, env=environment,
        )  # fmt: skip
    _children[child.pid] = child
    record(pid_file, child.pid)
    return child.pid


def record(pid_file: Path, pid: int) -> None:
    """Remember a process, in one step, so that a reader never sees half of it."""
    pid_file.parent.mkdir(parents=True, exist_ok=True)
    draft = pid_file.with_suffix(f".{os.getpid()}")
    draft.write_text(f"{pid} {_birth(pid) or 'gone'}\n")
    draft.replace(pid_file)


def running(pid_file: Path) -> int | None:
    """The pid when the recorded process, and no later one of the same number, still runs."""
    try:
        number, birth = pid_file.read_text().split(maxsplit=1)
        pid = int(number)
    except (OSError, ValueError):
        return None
    if pid in _children:
        # A process of many threads is a zombie before the last of them has let go of its ports and files.
        if _children[pid].poll() is None:
            return pid
        del _children[pid]
        return None
    return pid if _birth(pid) == birth.strip() else None


def terminate(pid_file: Path, grace: float, number: signal.Signals = signal.SIGTERM) -> str:
    """Send the signal, wait up to `grace` seconds, then send SIGKILL. Returns the outcome, for people."""
    pid = running(pid_file)
    if pid is None:
        pid_file.unlink(missing_ok=True)
        return "was not running"
    _signal(pid, number)
    if _gone(pid_file, grace):
        how = "stopped"
    else:
        kill(pid_file)
        how = f"killed, it did not stop within {grace:g} s"
    pid_file.unlink(missing_ok=True)
    return how


def kill(pid_file: Path) -> bool:
    """SIGKILL, and wait until it is gone. False when there was nothing to kill."""
    pid = running(pid_file)
    if pid is None:
        return False
    _signal(pid, signal.SIGKILL)
    _gone(pid_file, 10)
    return True


def last_lines(log: Path, count: int = 20) -> str:
    """The end of a log, indented."""
    try:
        lines = log.read_bytes()[-64_000:].decode(errors="replace").splitlines()[-count:]
    except OSError:
        return "    (no log)"
    return "\n".join(f"    {line}" for line in lines)


def _gone(pid_file: Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while running(pid_file) is not None:
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _birth(pid: int) -> str | None:
    """When the process started, in a form that two processes of this machine never share; None when it is dead."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return _birth_from_ps(pid)
    fields = stat.rpartition(")")[2].split()  # the name before ')' may hold blanks
    return None if fields[0] in "ZX" else f"{boot}/{fields[19]}"


def _birth_from_ps(pid: int) -> str | None:
    if Path("/proc/self/stat").exists():
        return None
    answer = subprocess.run(["ps", "-o", "stat=,lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    state, _, started = answer.stdout.strip().partition(" ")
    return None if not state or state.startswith("Z") else started.strip()
