"""Reading a sales file, planning its commands, and generating one."""

from __future__ import annotations

import gzip
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

from streams.shop.generated_sales import generate
from streams.shop.sales import NO_CUSTOMER, NO_PRICE, WRONG_SIGN, Command, Plan, plan
from streams.shop.sales_file import COLUMNS, SalesError, read_rows

HEADER = ",".join(COLUMNS)
SALE = "1,A,CUP,6,2010-12-31 23:59:00,2.55,17850.0,United Kingdom"
CREDIT = "C2,A,CUP,-2,2011-01-01 10:00:00,2.55,17850.0,United Kingdom"


def write(folder: Path, *lines: str, header: str = HEADER, encoding: str = "utf-8") -> Path:
    path = folder / "sales.csv"
    path.write_bytes("\n".join([header, *lines, ""]).encode(encoding))
    return path


def planned(folder: Path, *lines: str, limit: int | None = None, **days: date) -> Plan:
    return plan(read_rows(write(folder, *lines)), limit, **days)


def commands(plan: Plan) -> list[Command]:
    return [*plan.preparations(), *plan.orders()]


def test_commands_of_a_sale(tmp_path: Path) -> None:
    """A sale registers, defines, restocks, opens, adds and places, in this order, money as decimal text."""
    sent = [(c.aggregate, c.key, c.type, c.data) for c in commands(planned(tmp_path, SALE))]
    opened = {"user_id": "17850", "kind": "sale", "country": "United Kingdom", "opened_at": "2010-12-31T23:59:00Z"}
    assert sent == [
        ("user", "17850", "RegisterUser", {"country": "United Kingdom"}),
        ("product", "A", "DefineProduct", {"name": "CUP", "price": "2.55"}),
        ("product", "A", "Restock", {"quantity": 6}),
        ("order", "1", "OpenOrder", opened),
        ("order", "1", "AddLine", {"sku": "A", "description": "CUP", "quantity": 6, "unit_price": "2.55"}),
        ("order", "1", "PlaceOrder", {}),
    ]


def test_credit(tmp_path: Path) -> None:
    """A credit has positive lines, restocks nothing, and counts negative."""
    result = planned(tmp_path, CREDIT)
    assert [c.type for c in result.preparations()] == ["RegisterUser", "DefineProduct"]
    opened, line, _ = result.orders()
    assert (opened.key, opened.data["kind"], line.data["quantity"]) == ("C2", "credit", 2)
    assert result.revenue() == {"2011-01": Decimal("-5.10")}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (SALE.replace("17850.0", ""), NO_CUSTOMER),
        (SALE.replace("2.55", "0.0"), NO_PRICE),
        (SALE.replace("2.55", "-1"), NO_PRICE),
        (SALE.replace(",6,", ",-6,"), WRONG_SIGN),
        (SALE.replace(",6,", ",0,"), WRONG_SIGN),
        (CREDIT.replace(",-2,", ",2,"), WRONG_SIGN),
    ],
)
def test_left_out(tmp_path: Path, row: str, reason: str) -> None:
    """What the rules leave out is counted by reason and sends nothing."""
    result = planned(tmp_path, row)
    assert (1, 0, {reason: 1}, []) == (result.rows, result.kept, dict(result.left_out), commands(result))


def test_once_each(tmp_path: Path) -> None:
    """Customers come once, with their first country; products once, with last name and price and all that is sold."""
    later = "3,A,BIG CUP,4,2011-02-01 10:00:00,3.125,17850.0,France"
    left_out = "3,A,LOST,9,2011-02-01 10:00:00,0,17850.0,France"
    sent = {c.type: c.data for c in planned(tmp_path, SALE, CREDIT, later, left_out).preparations()}
    assert sent == {
        "RegisterUser": {"country": "United Kingdom"},
        "DefineProduct": {"name": "BIG CUP", "price": "3.125"},
        "Restock": {"quantity": 10},
    }


def test_invoice_in_pieces(tmp_path: Path) -> None:
    """Rows of an invoice that lie apart become one order, of the month of its first row."""
    late = "1,A,CUP,1,2011-01-01 00:01:00,2.10,17850.0,United Kingdom"
    result = planned(tmp_path, SALE, CREDIT, late)
    types = [c.type for c in result.orders() if c.key == "1"]
    assert types == ["OpenOrder", "AddLine", "AddLine", "PlaceOrder"]
    assert result.revenue() == {"2010-12": Decimal("17.40"), "2011-01": Decimal("-5.10")}


def test_one_stock_code_at_two_prices(tmp_path: Path) -> None:
    """Every kept row is a line of its own with an id of its own, also when only the price differs."""
    result = planned(tmp_path, SALE, SALE.replace("2.55", "1.275"))
    lines = [(c.id, c.data["unit_price"]) for c in result.orders() if c.type == "AddLine"]
    assert lines == [("replay/1/line/0", "2.55"), ("replay/1/line/1", "1.275")]


def test_choice(tmp_path: Path) -> None:
    """`limit` counts chosen invoices, `since` and `until` are days and included; the file's counts stay the file's."""
    rows = [f"{day},A,CUP,1,2010-12-0{day} 23:59:59,1,5,UK" for day in range(1, 6)]
    result = planned(tmp_path, *rows, limit=2, since=date(2010, 12, 2), until=date(2010, 12, 4))
    assert ([invoice.number for invoice in result.invoices], result.kept, result.lines) == (["2", "3"], 5, 2)
    everything_until = planned(tmp_path, *rows, until=date(2010, 12, 4))
    assert [invoice.number for invoice in everything_until.invoices] == ["1", "2", "3", "4"]


def test_ids_repeat(tmp_path: Path) -> None:
    """A part of a file sends some of the whole's very commands, so that part and whole together do nothing twice."""
    rows = [f"{n},A,CUP,{n},2010-12-01 10:00:00,1,{n},UK" for n in range(1, 6)]
    part, whole = commands(planned(tmp_path, *rows, limit=2)), commands(planned(tmp_path, *rows))
    assert [command for command in part if command not in whole] == []
    assert len(whole) == len({command.id for command in whole}) == planned(tmp_path, *rows).commands


def test_ids_of_another_file(tmp_path: Path) -> None:
    """Sales of another file are restocked under an id of their own, also when the quantity is the same."""
    ids = [
        next(c.id for c in planned(tmp_path, row).preparations() if c.type == "Restock")
        for row in (SALE, SALE.replace("1,A", "9,A", 1))
    ]
    assert ids[0] != ids[1]


def test_columns_in_any_order(tmp_path: Path) -> None:
    """The header says which column is which, more columns do no harm, and neither does a byte order mark."""
    path = write(
        tmp_path,
        'x,UK,"A, B",1,17850,2010-12-01 08:26:00,3,0.001,Z',
        header="more,Country,Description,InvoiceNo,CustomerID,InvoiceDate,Quantity,UnitPrice,StockCode",
        encoding="utf-8-sig",
    )
    (row,) = read_rows(path)
    assert ("1", "Z", "A, B", 3, Decimal("0.001"), "17850", "UK") == (*row[:4], *row[5:])


def test_forms_of_the_file(tmp_path: Path) -> None:
    """ISO-8859-1 as in the original, its dates, and gzip whatever the name."""
    text = f"{HEADER}\r\n1,A,CAFÉ £1,1,12/1/2010 8:26,1.5,17850,EIRE\r\n"
    path = tmp_path / "sales.csv"
    path.write_bytes(gzip.compress(text.encode("latin-1")))
    (row,) = read_rows(path)
    assert (row.description, str(row.at)) == ("CAFÉ £1", "2010-12-01 08:26:00")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "lacks InvoiceNo, StockCode"),
        (b"a,b\n", "lacks InvoiceNo, StockCode"),
        (HEADER.replace(",Country", "").encode(), "lacks Country"),
        (b"PK\x03\x04", "Excel"),
        (gzip.compress(HEADER.encode(), mtime=0)[:-6], "damaged gzip"),
        (b"\x1f\x8bnonsense", "cannot be read"),
        (f"{HEADER}\n{SALE}\n1,A\n".encode(), "line 3: 2 fields instead of 8"),
        (f"{HEADER}\n{SALE.replace(',6,', ',six,')}\n".encode(), "line 2: Quantity 'six' is not a whole number"),
        (f"{HEADER}\n{SALE.replace('2.55', 'NaN')}\n".encode(), "line 2: UnitPrice 'NaN'"),
        (f"{HEADER}\n{SALE.replace('2.55', '0.00001')}\n".encode(), "at most 4 decimals"),
        (f"{HEADER}\n{SALE.replace('2010-12-31', '31.12.2010')}\n".encode(), "line 2: InvoiceDate"),
        (f"{HEADER}\n{SALE.replace('1,A', ',A', 1)}\n".encode(), "line 2: InvoiceNo or StockCode is empty"),
        (f'{HEADER}\n1,"A'.encode(), "line 2: unexpected end of data"),
    ],
)
def test_bad_files(tmp_path: Path, content: bytes, message: str) -> None:
    """A file that cannot be used is refused with its name, the line, and what is wrong."""
    path = tmp_path / "bad.csv"
    path.write_bytes(content)
    with pytest.raises(SalesError) as refused:
        list(read_rows(path))
    assert str(path) in str(refused.value)
    assert message in str(refused.value)


def test_no_file(tmp_path: Path) -> None:
    """A file that is not there is named."""
    with pytest.raises(SalesError, match=r"nowhere\.csv cannot be read: No such file"):
        list(read_rows(tmp_path / "nowhere.csv"))


@pytest.mark.parametrize("name", ["sales.csv", "sales.csv.gz"])
def test_generated_twice(tmp_path: Path, name: str) -> None:
    """The same arguments give the same bytes, another seed others and other invoice numbers."""
    (tmp_path / "again").mkdir()
    files = [tmp_path / name, tmp_path / "again" / name, tmp_path / f"other-{name}"]
    for file, seed in zip(files, (7, 7, 8), strict=True):
        generate(file, 3, seed, date(2011, 1, 31))
    assert files[0].read_bytes() == files[1].read_bytes()
    assert not {row.invoice for row in read_rows(files[0])} & {row.invoice for row in read_rows(files[2])}


def test_generated_sales(tmp_path: Path) -> None:
    """Generated sales have the oddities of the real ones, and their plan's figures fit together."""
    path = tmp_path / "sales.csv"
    written = generate(path, 5, 1, date(2011, 1, 29))
    result = plan(read_rows(path))
    assert written == result.rows == result.kept + result.left_out.total()
    assert {NO_CUSTOMER, NO_PRICE} <= set(result.left_out)
    assert list(result.revenue()) == ["2011-01", "2011-02"]
    assert result.kept == result.lines == sum(c.type == "AddLine" for c in result.orders())
    sold = sum(line.quantity for invoice in result.invoices if not invoice.is_credit for line in invoice.lines)
    assert sold == sum(c.data["quantity"] for c in result.preparations() if c.type == "Restock")
    assert 30 * 5 * 0.7 < len(result.invoices) < 60 * 5
    assert any(invoice.is_credit for invoice in result.invoices)
    assert "POST" in result.products
    prices = [{(line.sku, line.price) for line in invoice.lines} for invoice in result.invoices]
    assert any(len(pairs) > len({sku for sku, _ in pairs}) for pairs in prices)


def test_unwritable(tmp_path: Path) -> None:
    """A file that cannot be written is named."""
    with pytest.raises(SalesError, match="cannot be written"):
        generate(tmp_path / "no" / "folder.csv", 1, 1, date(2011, 1, 1))
