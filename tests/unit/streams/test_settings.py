"""Settings: what each can mean is taken however people write it; the rest is refused in one line."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest
from msgspec import Meta

from streams.cli.http import ask
from streams.cli.run import CliError
from streams.settings import Settings, SettingsError, whole_number, without_login

HOST = "127.0.0.1:9092"


def read(**environment: str) -> Settings:
    return Settings.from_environment(environment)


def refused(**environment: str) -> str:
    """What is said about a setting."""
    with pytest.raises(SettingsError) as error:
        read(**environment)
    said = str(error.value)
    assert "\n" not in said
    assert said.startswith(next(iter(environment)))
    return said


# -- brokers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "brokers"),
    [
        ("kafka://127.0.0.1:9092", [HOST]),
        ("127.0.0.1:9092", [HOST]),
        ("127.0.0.1", [HOST]),
        ("kafka://127.0.0.1", [HOST]),
        (" kafka://127.0.0.1:9092 \n", [HOST]),
        ('"kafka://127.0.0.1:9092"', [HOST]),
        ("'127.0.0.1:9092'", [HOST]),
        ("kafka://a:1;kafka://b:2", ["a:1", "b:2"]),
        ("kafka://a:1,b:2", ["a:1", "b:2"]),
        ("kafka://a, kafka://b ; c:3", ["a:9092", "b:9092", "c:3"]),
        ("a;b;", ["a:9092", "b:9092"]),
        ("KAFKA://a:1/", ["a:1"]),
        ("kafka://[::1]:9093;[fe80::1]", ["[::1]:9093", "[fe80::1]:9092"]),
        ("k_1.example-site.com:65535", ["k_1.example-site.com:65535"]),
        ("a:1;a:1", ["a:1"]),
    ],
)
def test_brokers(text: str, brokers: list[str]) -> None:
    """Separated by commas or semicolons, with or without scheme, port, spaces and quotes."""
    found = read(KAFKA_BROKERS=text)
    assert brokers == found.bootstrap_servers
    assert ";".join(f"kafka://{broker}" for broker in brokers) == found.kafka_brokers
    assert brokers == Settings(kafka_brokers=text).bootstrap_servers


@pytest.mark.parametrize(
    "text",
    [
        ";", ",", " ", "SSL://127.0.0.1:9092", "http://a:1", "kafka://a:abc", "a:0", "a:65536", "a:1:2", "a:", "::1",
        "kafka://me:secret@a:1", "a b", "kafka://a:1/topic", "[::1", "[::1]9092", "kafka://", "a:٣", "a\x00b",
    ],
)  # fmt: skip
def test_brokers_that_cannot_be_meant(text: str) -> None:
    """One line that names the setting and says how brokers are written, and shows no password."""
    said = refused(KAFKA_BROKERS=text)
    assert "host:9092" in said
    assert "secret" not in said


# -- numbers and words --------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["inf", "nan", "-inf", "-5", "-0.1", "1e999", "x", "11", "0x5", "1_0", "٣"])
@pytest.mark.parametrize("name", ["GROUP_LINGER"])
def test_seconds_that_are_none(name: str, text: str) -> None:
    """Finite, and within what a worker can do something with."""
    assert "use seconds, 0 to 10" in refused(**{name: text})


@pytest.mark.parametrize("text", ["nan", "-1", "0", "inf"])
def test_seconds_of_a_stream(text: str) -> None:
    """A client is given time, and not for ever."""
    assert "use seconds, 0.1 to 86400" in refused(SSE_SECONDS=text)


@pytest.mark.parametrize("text", ["0", "-1", "1e3", "8.0", "eight", "1_000", "٣", "99999999999"])
def test_whole_numbers_that_are_none(text: str) -> None:
    """Each has a least and a most."""
    assert "use a whole number, 1 to 4096" in refused(PARTITIONS=text)


def test_numbers_as_people_write_them() -> None:
    """With zeros before, spaces and quotes around, and a sign."""
    found = read(PARTITIONS=" 08\n", GROUP_LINGER="'.5'", SSE_SECONDS="1e2", CACHE_BYTES="+7")
    assert (8, 0.5, 100.0, 7) == (found.partitions, found.group_linger, found.sse_seconds, found.cache_bytes)


@pytest.mark.parametrize(("name", "range"), Settings.ranges().items())
def test_every_number_has_limits(name: str, range: Meta) -> None:
    """What is beyond them is refused, and the default is within."""
    least, most = range.ge, range.le
    assert least is not None
    assert most is not None
    assert least <= getattr(Settings(), name) <= most
    assert str(most) in refused(**{name.upper(): f"{most}0"})
    assert most == getattr(read(**{name.upper(): str(most)}), name)


def test_limits_are_of_all_numbers() -> None:
    """A setting that is a number cannot be added without them."""
    numbers = {field.name for field in fields(Settings) if type(field.default) in (int, float)}
    assert numbers == Settings.ranges().keys()


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("SETUP", "sometimes", "use always, never or auto"),
        ("QUARANTINE", "yes", "use on or off"),
        ("NAMESPACE", "1a", "a letter first"),
        ("NAMESPACE", "a b", "a letter first"),
        ("DATA_DIR", " ", "is blank"),
        ("JOURNAL_URL", "\t", "is blank"),
        ("DATA_DIR", "a\x00b", "control character"),
    ],
)
def test_words(name: str, text: str, words: str) -> None:
    """What is allowed is said."""
    assert words in refused(**{name: text})


def test_words_as_people_write_them() -> None:
    """Quotes and spaces around are not meant, and an empty one is not set."""
    found = read(NAMESPACE='"demo_"', SETUP="never ", QUARANTINE="'on'", JOURNAL_URL="sqlite:///x.db\n", DATA_DIR="")
    assert ("demo_", "never", True, "sqlite:///x.db") == (
        found.namespace, found.setup, found.quarantine, found.journal_url
    )  # fmt: skip
    assert Settings().data_dir == found.data_dir


def test_an_app_names_the_keyspace_of_its_journals() -> None:
    """Where JOURNAL_URL says nothing; what it says goes before."""
    found = [Settings.from_environment(environment, "shop").journal_url for environment in ({}, {"JOURNAL_URL": "x:y"})]
    assert ["cassandra://127.0.0.1:9042/shop", "x:y"] == found
    assert Settings().journal_url == read().journal_url == "cassandra://127.0.0.1:9042/sourced"


def test_a_folder_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` is the folder of the user, as in a shell, which does not see it in a file of settings."""
    monkeypatch.setenv("HOME", "/home/me")
    assert Path("/home/me/data") == read(DATA_DIR="~/data").data_dir


@pytest.mark.parametrize("text", ["nan", "0", "61", "1_0", " "])
def test_a_setting_of_one_app(text: str) -> None:
    """Is read by the same rules."""
    with pytest.raises(SettingsError, match=r"^CHECKOUT_DEADLINE=.*use a whole number, 1 to 60"):
        whole_number("CHECKOUT_DEADLINE", 60, 60, {"CHECKOUT_DEADLINE": text})


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://me:secret@host:6066/lag", "http://host:6066/lag"),
        ("http://me:p@ss@host/a@b?c@d", "http://host/a@b?c@d"),
        ("postgresql://host/shop", "postgresql://host/shop"),
        ("host:1", "host:1"),
    ],
)
def test_a_url_as_it_may_be_shown(url: str, shown: str) -> None:
    """Without user and password."""
    assert shown == without_login(url)


async def test_a_password_in_an_option_is_not_shown() -> None:
    """The line that says that nobody answers names the place alone."""
    with pytest.raises(CliError) as stopped:
        await ask("http://me:secret@127.0.0.1:1", "/lag", "is it up?")
    assert "http://127.0.0.1:1/lag: " in str(stopped.value)
    assert "secret" not in str(stopped.value)


# -- secrets --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["JOURNAL_URL", "READ_MODEL_URL", "SCHEMA_REGISTRY_URL"])
def test_a_url_in_a_file(name: str, tmp_path: Path) -> None:
    """With a password that is in no environment, and in nothing that shows the settings."""
    file = tmp_path / "url"
    file.write_text("cassandra://me:canary@db/shop\n")
    found = read(**{f"{name}_FILE": str(file)})
    assert "cassandra://me:canary@db/shop" == getattr(found, name.lower())
    assert "canary" not in f"{found} {found!r}"
    assert "both" in refused(**{f"{name}_FILE": str(file), name: "cassandra://db/shop"})
    file.write_text(" \n")
    assert "it is empty" in refused(**{f"{name}_FILE": str(file)})
    assert "No such file" in refused(**{f"{name}_FILE": str(tmp_path / "none")})


@pytest.mark.parametrize("text", ["a b", "a,,b", "a/b", "x" * 250])
def test_reply_topics(text: str) -> None:
    """Only what can be the beginning of a topic."""
    assert "beginnings of topics" in refused(REPLY_TOPICS=text)
    assert ("shop.", "crm-") == read(REPLY_TOPICS="shop., crm-").reply_prefixes
    assert () == read().reply_prefixes
