"""A voucher: never more is redeemed than was issued, and each order redeems at most once."""

from protean import Domain, apply, current_domain, handle
from protean.core.projector import on
from protean.exceptions import ObjectNotFoundError, ValidationError
from protean.fields import Decimal, Identifier, List, String

domain = Domain("vouchers")


@domain.event(part_of="Voucher")
class VoucherIssued:
    voucher_id: Identifier(required=True)
    amount: Decimal(required=True)


@domain.event(part_of="Voucher")
class VoucherRedeemed:
    voucher_id: Identifier(required=True)
    order_id: String(required=True)
    amount: Decimal(required=True)


@domain.aggregate(event_sourced=True)
class Voucher:
    voucher_id: Identifier(identifier=True)
    left: Decimal(default=0)
    orders: List(content_type=String)

    @classmethod
    def issue(cls, voucher_id, amount):
        voucher = cls._create_new(voucher_id=voucher_id)
        voucher.raise_(VoucherIssued(voucher_id=voucher_id, amount=amount))
        return voucher

    def redeem(self, order_id, amount):
        if order_id in self.orders:
            return  # honoured before
        if not 0 < amount <= self.left:
            raise ValidationError({"amount": [f"{self.left:.2f} is left"]})
        self.raise_(VoucherRedeemed(voucher_id=self.voucher_id, order_id=order_id, amount=amount))

    @apply
    def issued(self, event: VoucherIssued):
        self.voucher_id = event.voucher_id
        self.left = event.amount
        self.orders = []

    @apply
    def redeemed(self, event: VoucherRedeemed):
        self.left -= event.amount
        self.orders = [*self.orders, event.order_id]


@domain.command(part_of=Voucher)
class IssueVoucher:
    voucher_id: Identifier(required=True)
    amount: Decimal(required=True)


@domain.command(part_of=Voucher)
class RedeemVoucher:
    voucher_id: Identifier(required=True)
    order_id: String(required=True)
    amount: Decimal(required=True)


@domain.command_handler(part_of=Voucher)
class VoucherCommands:
    @handle(IssueVoucher)
    def issue(self, command: IssueVoucher):
        if command.amount <= 0:
            raise ValidationError({"amount": ["an amount is more than nothing"]})
        vouchers = current_domain.repository_for(Voucher)
        try:
            vouchers.get(command.voucher_id)
        except ObjectNotFoundError:
            vouchers.add(Voucher.issue(command.voucher_id, command.amount))
        return command.voucher_id

    @handle(RedeemVoucher)
    def redeem(self, command: RedeemVoucher):
        vouchers = current_domain.repository_for(Voucher)
        voucher = vouchers.get(command.voucher_id)
        voucher.redeem(command.order_id, command.amount)
        vouchers.add(voucher)


@domain.projection
class VoucherRow:
    id: Identifier(identifier=True)
    left: Decimal(default=0)
    orders: List(content_type=String)


@domain.projector(projector_for=VoucherRow, aggregates=[Voucher])
class VoucherRows:
    @on(VoucherIssued)
    def issued(self, event: VoucherIssued):
        current_domain.repository_for(VoucherRow).add(VoucherRow(id=event.voucher_id, left=event.amount))

    @on(VoucherRedeemed)
    def redeemed(self, event: VoucherRedeemed):
        rows = current_domain.repository_for(VoucherRow)
        row = rows.get(event.voucher_id)
        row.left -= event.amount
        row.orders = [*row.orders, event.order_id]
        rows.add(row)


domain.init(traverse=False)
domain.config["command_processing"] = "sync"
domain.config["event_processing"] = "sync"
