"""What a voucher may do."""

from decimal import Decimal

import pytest
from vouchers import InvalidAmount, NotEnough, Vouchers


@pytest.fixture
def vouchers():
    return Vouchers()


def test_issued_once(vouchers):
    vouchers.issue("V-1", Decimal(25))
    vouchers.issue("V-1", Decimal(25))
    assert vouchers.voucher("V-1").version == 1
    with pytest.raises(InvalidAmount):
        vouchers.issue("V-2", Decimal(-1))


def test_each_order_once_and_never_more_than_is_left(vouchers):
    vouchers.issue("V-1", Decimal(25))
    vouchers.redeem("V-1", "A-1", Decimal(10))
    vouchers.redeem("V-1", "A-1", Decimal(10))
    assert vouchers.voucher("V-1").version == 2
    with pytest.raises(NotEnough):
        vouchers.redeem("V-1", "A-2", Decimal(16))


def test_seen(vouchers):
    vouchers.issue("V-1", Decimal(25))
    vouchers.redeem("V-1", "A-1", Decimal(10))
    found = vouchers.voucher("V-1")
    assert (found.left, found.orders) == (Decimal(15), ["A-1"])
