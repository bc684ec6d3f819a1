"""Vouchers over HTTP: `flask --app api run`."""

from decimal import Decimal

from eventsourcing.application import AggregateNotFoundError
from flask import Flask, request
from vouchers import InvalidAmount, NotEnough, Vouchers

app = Flask(__name__)
vouchers = Vouchers()


@app.post("/vouchers/<name>/commands")
def command(name):
    match request.get_json():
        case {"type": "IssueVoucher", "data": {"amount": str(amount)}}:
            vouchers.issue(name, Decimal(amount))
        case {"type": "RedeemVoucher", "data": {"order_id": str(order_id), "amount": str(amount)}}:
            vouchers.redeem(name, order_id, Decimal(amount))
        case _:
            return {"error": "no such command"}, 422
    return {"status": "accepted"}


@app.get("/vouchers/<name>")
def voucher(name):
    found = vouchers.voucher(name)
    return {"id": name, "left": str(found.left), "orders": found.orders}


@app.errorhandler(InvalidAmount)
@app.errorhandler(NotEnough)
def rejected(error):
    return {"error": {"type": type(error).__name__, "message": str(error)}}, 409


@app.errorhandler(AggregateNotFoundError)
def unknown(error):
    return {"error": "there is no such voucher"}, 404
