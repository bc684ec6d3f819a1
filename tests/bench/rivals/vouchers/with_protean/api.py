"""Vouchers over HTTP: `uvicorn api:app`."""

from fastapi import FastAPI
from protean.integrations.fastapi import DomainContextMiddleware, register_exception_handlers
from pydantic import BaseModel
from vouchers import IssueVoucher, RedeemVoucher, VoucherRow, domain

app = FastAPI()
app.add_middleware(DomainContextMiddleware, route_domain_map={"/": domain})
register_exception_handlers(app)

COMMANDS = {"IssueVoucher": IssueVoucher, "RedeemVoucher": RedeemVoucher}


class Command(BaseModel):
    type: str
    data: dict


@app.post("/vouchers/{voucher_id}/commands")
def command(voucher_id: str, command: Command):
    domain.process(COMMANDS[command.type](voucher_id=voucher_id, **command.data))
    return {"status": "accepted"}


@app.get("/vouchers/{voucher_id}")
def voucher(voucher_id: str):
    return domain.repository_for(VoucherRow).get(voucher_id).to_dict()
