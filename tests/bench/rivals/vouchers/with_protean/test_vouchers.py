"""What a voucher may do, and what is seen of it."""

from decimal import Decimal

import pytest
from protean.integrations.pytest import DomainFixture
from protean.testing import given
from vouchers import IssueVoucher, RedeemVoucher, Voucher, VoucherIssued, VoucherRedeemed, VoucherRow, domain

ISSUED = VoucherIssued(voucher_id="V-1", amount=Decimal(25))
REDEEMED = VoucherRedeemed(voucher_id="V-1", order_id="A-1", amount=Decimal(10))


@pytest.fixture(autouse=True)
def context():
    with DomainFixture(domain).domain_context():
        yield


def redeem(order_id, amount):
    return RedeemVoucher(voucher_id="V-1", order_id=order_id, amount=amount)


def issue(amount):
    return IssueVoucher(voucher_id="V-1", amount=amount)


def test_issued():
    assert VoucherIssued in given(Voucher).process(issue(Decimal(25))).events


def test_issued_once():
    assert not given(Voucher, ISSUED).process(issue(Decimal(25))).events


def test_an_amount_is_more_than_nothing():
    assert given(Voucher).process(issue(Decimal(-1))).rejected


def test_redeemed():
    assert VoucherRedeemed in given(Voucher, ISSUED).process(redeem("A-1", Decimal(10))).events


def test_each_order_once():
    assert not given(Voucher, ISSUED, REDEEMED).process(redeem("A-1", Decimal(10))).events


def test_never_more_than_is_left():
    assert given(Voucher, ISSUED, REDEEMED).process(redeem("A-2", Decimal(16))).rejected


def test_seen():
    domain.process(issue(Decimal(25)))
    domain.process(redeem("A-1", Decimal(10)))
    row = domain.repository_for(VoucherRow).get("V-1")
    assert (row.left, row.orders) == (Decimal(15), ["A-1"])
