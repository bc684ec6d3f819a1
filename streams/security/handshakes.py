"""What it means that a store's server and this process do not come together over TLS, in one line."""

from __future__ import annotations

import ssl
from typing import Any

CUT = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
"""The other end went away in the middle of a handshake, as a server does that is restarted. This passes; anything else
that is wrong with TLS is a setting."""

_OTHER_NAME = (62, 63, 64)  # X509_V_ERR_HOSTNAME_MISMATCH, _EMAIL_MISMATCH, _IP_ADDRESS_MISMATCH
_UNKNOWN_AUTHORITY = (2, 18, 19, 20, 21)
_ALERT, _VERSION = "ALERT", "PROTOCOL_VERSION"
"""In the reason of what the other end says of this one: mostly, that it does not take its certificate."""


def alert_behind(error: BaseException | None) -> ssl.SSLError | None:
    """What the other end has said of this one, where that has led to `error`; None where it is another trouble."""
    while error is not None:
        if isinstance(error, ssl.SSLError) and _ALERT in (getattr(error, "reason", None) or ""):
            return error
        error = error.__cause__ or error.__context__
    return None


def refusal(error: ssl.SSLError) -> str:
    """What went wrong in a handshake, and what to do."""
    code = getattr(error, "verify_code", 0)
    reason = (getattr(error, "reason", None) or "").upper()
    if code in _OTHER_NAME:
        return f"its certificate is another server's: {_verified(error)}"
    if code in _UNKNOWN_AUTHORITY:
        return f"its certificate is of an authority that is not trusted: {_verified(error)}; name its file with ca=FILE"
    if code:
        return f"its certificate does not hold: {_verified(error)}"
    if _ALERT in reason and _VERSION not in reason:
        return f"it does not take this process: does it want another certificate: cert=FILE, key=FILE? ({reason})"
    if reason in ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST"):
        return f"it does not speak TLS there ({reason})"
    return reason or str(error)


def _verified(error: Any) -> str:
    return str(getattr(error, "verify_message", "") or error).rstrip(".")
