"""Where `sourced dev` has everything, and that what its user says goes before."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from watchfiles import Change

from streams.dev.broker.store import Store
from streams.dev.broker.topics import Topics
from streams.dev.command import PORT, _port, dev
from streams.dev.emptying import forget_everything, forget_what_is_derived
from streams.dev.supervision import ProjectFiles
from streams.dev.whereabouts import Whereabouts, on_servers
from streams.projects.project import ProjectError, find_project
from streams.settings import Settings


@pytest.fixture
def places(tmp_path: Path) -> Whereabouts:
    """Those of a project of two apps."""
    return Whereabouts(tmp_path, ("boxes.app", "boxes.tables"), 7000)


def test_ports(places: Whereabouts) -> None:
    """The last app has the port, the others those below it, and below these are topics."""
    assert ({"boxes.app": 6999, "boxes.tables": 7000}, 6998) == (places.ports, places.broker_port)


def test_no_servers(places: Whereabouts) -> None:
    """Unless told otherwise, all is on this machine and in the folder; the settings can be read by the apps."""
    settings = Settings.from_environment(places.settings({}))
    assert ["127.0.0.1:6998"] == settings.bootstrap_servers
    assert settings.journal_url.startswith(f"sqlite:///{places.folder}")
    assert places.folder in settings.data_dir.parents
    assert places.has_broker({})


def test_a_kafka_by_one_setting(places: Whereabouts) -> None:
    """The rest stays as it is; and what leads elsewhere is not emptied."""
    given = {"KAFKA_BROKERS": "kafka://k1:9092", "PARTITIONS": "8"}
    settings = places.settings(given)
    assert ("kafka://k1:9092", "8") == (settings["KAFKA_BROKERS"], settings["PARTITIONS"])
    assert "JOURNAL_URL" not in places.settings({"JOURNAL_URL_FILE": "url"})
    assert (False, ["KAFKA_BROKERS"]) == (places.has_broker(given), places.foreign(given))


def test_servers_by_one_word(places: Whereabouts) -> None:
    """`--servers` is what a worker takes that is told nothing, so that workers go on with what is there; what is said
    goes before, and nothing of it is emptied."""
    worker = Settings.from_environment({})
    ours = Settings.from_environment(places.settings(on_servers({})))
    for name in ("kafka_brokers", "journal_url", "partitions", "logs", "key_management"):
        assert getattr(worker, name) == getattr(ours, name), name
    assert worker.journal_url == ours.read_model_url
    assert not places.has_broker(on_servers({}))
    given = {"KAFKA_BROKERS": "kafka://k1:9092", "JOURNAL_URL": "cassandra://c1:9042/db", "PARTITIONS": ""}
    said = on_servers(given)
    assert ("kafka://k1:9092", "cassandra://c1:9042/db") == (said["KAFKA_BROKERS"], said["READ_MODEL_URL"])
    assert str(worker.partitions) == said["PARTITIONS"]
    assert not {"JOURNAL_URL", "READ_MODEL_URL"} & set(on_servers({"JOURNAL_URL_FILE": "url"}))


def test_each_kafka_has_its_own_tables(places: Whereabouts) -> None:
    """Tables and journals of other topics do not fit: they are kept apart for each Kafka and each place of journals."""
    kafka, journals = {"KAFKA_BROKERS": "kafka://k1:9092"}, {"JOURNAL_URL": "cassandra://c1:9042/db"}
    found = [places.settings(given) for given in ({}, kafka, journals, kafka | journals)]
    for name in ("DATA_DIR", "READ_MODEL_URL"):
        assert 4 == len({settings[name] for settings in found})
    assert found[0]["JOURNAL_URL"] != found[1]["JOURNAL_URL"]
    assert found[1] == places.settings(kafka)


def test_emptying(places: Whereabouts) -> None:
    """A replay keeps journals and events, and what tables were made of them is gone; afresh, nothing is left."""
    for folder in (places.topics.parent, places.journals, *places.derived):
        folder.mkdir(parents=True)
        (folder / "file").touch()
    store = Store(places.topics)
    for name in ("box-events", "tables-box-rows-changelog"):
        Topics(store).create(name, 1, 1, {})
    store.close()
    forget_what_is_derived(places)
    assert (True, False, False) == (places.journals.exists(), places.tables.exists(), places.read_models.exists())
    store = Store(places.topics)
    assert ["box-events"] == [topic.name for topic in Topics(store).all]
    store.close()
    forget_everything(places)
    assert [] == list(places.folder.iterdir())


def test_nothing_elsewhere_is_emptied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`--fresh` with a setting that leads elsewhere is refused in one line."""
    (tmp_path / "pyproject.toml").write_text('[tool.sourced]\napps = ["boxes.app"]\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("JOURNAL_URL", "cassandra://c1:9042/db")
    result = CliRunner().invoke(dev, ["--fresh"])
    assert (2, True) == (result.exit_code, "JOURNAL_URL leads elsewhere" in result.output)
    monkeypatch.delenv("JOURNAL_URL")
    result = CliRunner().invoke(dev, ["--servers", "--replay"])
    assert (2, True) == (result.exit_code, "KAFKA_BROKERS leads elsewhere" in result.output)


@pytest.mark.parametrize(
    ("file", "is_watched"),
    [
        ("boxes/box.py", True),
        ("boxes/schemas/box/Packed.v1.avsc", True),
        ("pyproject.toml", True),
        ("boxes/__pycache__/box.py", False),
        (".data/dev/tables/x.json", False),
        ("notes.txt", False),
    ],
)
def test_what_is_watched(places: Whereabouts, file: str, is_watched: bool) -> None:
    """What a project is written in, and nothing that it writes itself."""
    assert is_watched == ProjectFiles(places)(Change.modified, str(places.root / file))


@pytest.mark.parametrize(
    ("line", "said"), [("port = 6100", 6100), ("", PORT), ('port = "x"', "port in"), ("port = 80", "port in")]
)
def test_the_port_of_the_table(tmp_path: Path, line: str, said: int | str) -> None:
    """A project says where it listens; what cannot be is said."""
    (tmp_path / "pyproject.toml").write_text(f'[tool.sourced]\napps = ["boxes.app"]\n{line}\n')
    project = find_project(tmp_path)
    if isinstance(said, int):
        assert said == _port(project)
    else:
        with pytest.raises(ProjectError, match=said):
            _port(project)
