"""`--fresh` and `--replay`: what is taken away before a start."""

from __future__ import annotations

import shutil

from streams.dev.broker.store import Store
from streams.dev.broker.topics import Topics
from streams.dev.whereabouts import Whereabouts

CHANGELOGS = "-changelog"
"""How the topics end in which Faust keeps the rows of tables."""


def forget_everything(places: Whereabouts) -> None:
    """Journals, topics, tables, and keys of persons. Raises `OSError`."""
    for folder in (places.topics.parent, places.journals, places.keys, *places.derived):
        if folder.exists():
            shutil.rmtree(folder)


def forget_what_is_derived(places: Whereabouts) -> None:
    """All tables, which are made of the events again. Raises `OSError`."""
    for folder in places.derived:
        if folder.exists():
            shutil.rmtree(folder)
    if not places.topics.exists():
        return
    store = Store(places.topics)
    try:
        topics = Topics(store)
        for topic in topics.all:
            if topic.name.endswith(CHANGELOGS):
                topics.delete(topic.name)
    finally:
        store.close()
