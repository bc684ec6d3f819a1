"""What goes wrong with TLS: a connection that is cut while it is made passes, anything else is a setting."""

import ssl

CUT = (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)
"""The other end went away in the middle of a handshake, as a server does that is restarted."""
