"""A voucher: never more is redeemed than was issued, and each order redeems at most once."""

from decimal import Decimal
from uuid import NAMESPACE_URL, UUID, uuid5

from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.domain import Aggregate, event


class InvalidAmount(ValueError):
    pass


class NotEnough(ValueError):
    pass


class Voucher(Aggregate):
    @staticmethod
    def create_id(name: str) -> UUID:
        return uuid5(NAMESPACE_URL, f"/vouchers/{name}")

    @event("Issued")
    def __init__(self, name: str, amount: Decimal) -> None:
        self.name = name
        self.left = amount
        self.orders: list[str] = []

    def redeem(self, order_id: str, amount: Decimal) -> None:
        if order_id in self.orders:
            return  # honoured before
        if not 0 < amount <= self.left:
            raise NotEnough(f"{self.left:.2f} is left")
        self._redeem(order_id, amount)

    @event("Redeemed")
    def _redeem(self, order_id: str, amount: Decimal) -> None:
        self.left -= amount
        self.orders.append(order_id)


class Vouchers(Application[UUID]):
    def issue(self, name: str, amount: Decimal) -> None:
        if amount <= 0:
            raise InvalidAmount("an amount is more than nothing")
        try:
            self.voucher(name)
        except AggregateNotFoundError:
            self.save(Voucher(name, amount))

    def redeem(self, name: str, order_id: str, amount: Decimal) -> None:
        voucher = self.voucher(name)
        voucher.redeem(order_id, amount)
        self.save(voucher)

    def voucher(self, name: str) -> Voucher:
        return self.repository.get(Voucher.create_id(name))
