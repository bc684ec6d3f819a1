"""Joins: what may be joined, and that a row follows from the events of its halves alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from projections import Indexes, Join, Projection, PublishedEvent, ReadModelRows, Row, Side, Table
from projections.stores.typed_columns import columns_of
from sourced.testing import given


@dataclass(frozen=True)
class Named:
    name: str


@dataclass(frozen=True)
class Booked:
    patient: str
    slot: str


@dataclass(frozen=True)
class Paid:
    patient: str
    cents: int


@dataclass(frozen=True)
class Patient:
    name: str


@dataclass(frozen=True)
class Payment:
    patient: str
    amount: Decimal


def named(row: Patient | None, key: str, published: PublishedEvent) -> Patient:
    return Patient(published.event.name)


def paid(row: Payment | None, key: str, published: PublishedEvent) -> Payment:
    return Payment(published.event.patient, Decimal(published.event.cents) / 100)


def booked(row: Row | None, key: str, published: PublishedEvent) -> Row:
    return {"slots": [*(row or {"slots": []})["slots"], published.event.slot]}


def patients_of(published: PublishedEvent) -> list[str]:
    return [published.event.patient]


PATIENTS = Table(Projection("patients", 1, "patient", named, row=Patient))
PAYMENTS = Table(Projection("payments", 1, "payment", paid, row=Payment), columns_of(Payment, [("patient", "key")]))
BOOKINGS = Table(Projection("bookings", 1, "calendar", booked, keys=patients_of, local=True))
EVENTS: list[tuple[str, str, object]] = [
    ("patient", "ada", Named("Ada")),
    ("calendar", "monday", Booked("ada", "monday 9")),
    ("calendar", "friday", Booked("ada", "friday 8")),
    ("calendar", "monday", Booked("bob", "monday 10")),
]


def all_slots(key: str, patient: Sequence[Patient], parts: Sequence[Row]) -> Any:
    slots = sorted(slot for part in parts for slot in part["slots"])
    return {"name": patient[0].name if patient else None, "slots": slots}


def test_rows_by_a_key_of_the_events() -> None:
    """A patient's bookings over many calendars: parts of many partitions, and the row of the patient."""
    join = Join("agenda", Side(PATIENTS), Side(BOOKINGS), all_slots)
    expected = {
        "ada": {"name": "Ada", "slots": ["friday 8", "monday 9"]},
        "bob": {"name": None, "slots": ["monday 10"]},
    }
    given(join, *EVENTS).then_rows(expected)
    given(join, *EVENTS[::-1]).then_rows({**expected, "ada": {"name": "Ada", "slots": ["friday 8", "monday 9"]}})


def test_a_row_that_depends_on_partitions() -> None:
    """Parts that are put together in the order in which they come would come otherwise another day: this is said."""

    def first_slot(key: str, patient: Sequence[Patient], parts: Sequence[Row]) -> str:
        return str(parts[0]["slots"][0]) if parts else ""

    join = Join("agenda", Side(PATIENTS), Side(BOOKINGS), first_slot)
    with pytest.raises(AssertionError, match="agenda, which depends on how its events are spread over partitions"):
        given(join, *EVENTS).then_row("ada", "monday 9")


def test_many_under_a_column() -> None:
    """One to many, by a field: decimals are what they were; what has changed its field is under the new key alone."""

    def sums(key: str, patient: Sequence[Patient], payments: Sequence[Payment]) -> Any:
        return [it.name for it in patient], sum((it.amount for it in payments), Decimal(0))

    join = Join("accounts", Side(PATIENTS), Side(PAYMENTS, by="patient"), sums)
    paid = given(join, ("payment", "1", Paid("ada", 950)), ("payment", "2", Paid("ada", 50)), EVENTS[0])
    paid.then_rows({"ada": (["Ada"], Decimal("10"))})
    paid.when(("payment", "1", Paid("bob", 950))).then_rows(
        {"ada": (["Ada"], Decimal("0.5")), "bob": ([], Decimal("9.5"))}
    )


def test_under_an_index() -> None:
    """What RocksDB indexes may be joined by, too; a row without a value stands under no key."""
    table = Table(PAYMENTS.projection, Indexes({"who": lambda row: row["patient"] or None}))
    join = Join("accounts", Side(PATIENTS), Side(table, by="who"), lambda key, patient, payments: len(payments))
    given(join, ("payment", "1", Paid("ada", 950)), ("payment", "2", Paid("", 50))).then_rows({"ada": 1})


@pytest.mark.parametrize(
    ("table", "by", "says"),
    [
        (PAYMENTS, "who", "payments is to be joined by who, which is no index or column of its table"),
        (PAYMENTS, "amount", "payments is to be joined by amount, which is no text"),
        (BOOKINGS, "patient", "bookings is local: its rows stand under the keys of its events"),
        (Table(PATIENTS.projection, ReadModelRows()), "", "patients: a join is of tables in RocksDB or SQLite"),
    ],
    ids=("no column", "no text", "local", "elsewhere"),
)
def test_what_cannot_be_joined(table: Table, by: str, says: str) -> None:
    """It is said when it is declared."""
    with pytest.raises(ValueError, match=says):
        Side(table, by)


def test_one_table_on_both_sides() -> None:
    """Nothing tells its halves apart."""
    with pytest.raises(ValueError, match="the join twice has patients on both sides"):
        Join("twice", Side(PATIENTS), Side(PATIENTS), all_slots)


def test_events_of_another_type() -> None:
    """A test that gives what nobody hears is wrong."""
    join = Join("agenda", Side(PATIENTS), Side(BOOKINGS), all_slots)
    with pytest.raises(AssertionError, match="is of payment, and agenda joins patient and calendar"):
        given(join, ("payment", "1", Paid("ada", 950))).then_rows({})
