"""The units: known directives alone, settings that exist, and time to end."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path
from typing import get_type_hints

from deploy.kubernetes.__main__ import apps
from servers.workers import STOP_SECONDS
from streams.security.secret import Secret
from streams.settings import URLS, Settings

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "systemd"
UNIT = FOLDER / "sourced@.service"
ENV = {file.stem: file for file in (FOLDER / "env").glob("*.env")}
KNOWN = {
    "Unit": "Description Documentation PartOf Wants After StartLimitIntervalSec",
    "Install": "WantedBy",
    "Service": "Type EnvironmentFile Environment LoadCredential ExecStart Restart RestartSec RestartPreventExitStatus"
    " KillMode TimeoutStopSec TimeoutStartSec LimitNOFILE DynamicUser User StateDirectory StateDirectoryMode UMask"
    " CapabilityBoundingSet LockPersonality NoNewPrivileges PrivateDevices PrivateTmp PrivateUsers ProtectClock"
    " ProtectControlGroups ProtectHome ProtectHostname ProtectKernelLogs ProtectKernelModules ProtectKernelTunables"
    " ProtectProc ProtectSystem RemoveIPC RestrictAddressFamilies RestrictNamespaces RestrictRealtime RestrictSUIDSGID"
    " SystemCallArchitectures SystemCallErrorNumber SystemCallFilter",
}
"""Directives as systemd.unit(5), .service(5), .exec(5) and .kill(5) have them; systemd leaves others out."""
OF_THE_UNIT = {"APP", "PORT", "PYTHONUNBUFFERED"}
"""What the unit itself uses, and no worker reads."""


def directives(file: Path) -> list[tuple[str, str, str]]:
    """Section, name and value of each line; anything else is an error."""
    found, section = [], ""
    for line in file.read_text("utf-8").splitlines():
        if not line or line.startswith(("#", ";")):
            continue
        if heading := re.fullmatch(r"\[(\w+)\]", line):
            section = heading[1]
            continue
        entry = re.fullmatch(r"([A-Z]\w+)=(.*)", line)
        assert entry is not None, line
        found.append((section, entry[1], entry[2]))
    return found


def values(name: str) -> list[str]:
    """What the unit of a worker says of one directive."""
    return [value for _, found, value in directives(UNIT) if found == name]


def variables(file: Path) -> dict[str, str]:
    """A file of settings, also those that stand in it as an example."""
    text = file.read_text("utf-8")
    return dict(re.findall(r"^(?:# )?([A-Z_]+)=(.*)$", text, re.MULTILINE))


def test_directives_are_known() -> None:
    """A directive that is misspelt has no effect, and systemd only warns."""
    for file in FOLDER.glob("sourced*"):
        for section, name, _ in directives(file):
            assert name in KNOWN[section].split(), f"{file.name}: {name} in {section}"


def test_systemd_takes_them(tmp_path: Path) -> None:
    """Where there is a systemd it is asked itself, about the units and about how much they may do."""
    if (analyze := shutil.which("systemd-analyze")) is None:
        return  # the directives are held by the test above
    for file in FOLDER.glob("sourced*"):
        (tmp_path / file.name).write_text(file.read_text("utf-8").replace("/opt/sourced/bin/faust", "/bin/true"))
    run = [analyze, "verify", "--man=no", "--recursive-errors=no", "sourced@orders.service", "sourced.target"]
    done = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (0, "") == (done.returncode, done.stderr)


def test_each_app_has_a_file_of_settings() -> None:
    """App and port are those of the Procfile."""
    wanted = {app.name: (app.module, str(app.port)) for app in apps((ROOT / "Procfile").read_text("utf-8"))}
    found = {name: variables(file) for name, file in ENV.items() if name != "sourced"}
    assert wanted == {name: (env["APP"], env["PORT"]) for name, env in found.items()}
    assert all(importlib.util.find_spec(env["APP"]) for env in found.values())


def test_every_variable_is_a_setting() -> None:
    """In the unit and in the files that it reads."""
    hints = get_type_hints(Settings, include_extras=True)
    known = {name.upper() for name in hints}
    known |= {f"{name.upper()}_FILE" for name, hint in hints.items() if hint is Secret or name in URLS}
    used = {value.partition("=")[0] for value in values("Environment")}
    for file in ENV.values():
        used |= set(variables(file))
    assert set() == used - known - OF_THE_UNIT
    shared = {name: value for name, value in variables(ENV["sourced"]).items() if not name.endswith("_FILE")}
    Settings.from_environment(shared)


def test_a_worker_ends_by_itself_and_is_started_again() -> None:
    """It has more time than it needs; a setting that cannot be used is not tried again and again."""
    assert [str(40)] == values("TimeoutStopSec")
    assert STOP_SECONDS < 40
    assert (["always"], ["2"]) == (values("Restart"), values("RestartPreventExitStatus"))
    assert ["yes"] == values("DynamicUser")
    [start] = values("ExecStart")
    assert "faust -A ${APP} worker --web-port ${PORT} --datadir ${DATA_DIR}" in start
    assert ["sourced/%i"] == values("StateDirectory")
    assert "DATA_DIR=%S/sourced/%i" in values("Environment")
