#!/usr/bin/env python3
"""The health check of the image: ends with 0 while the worker of this container lives (`/health/live`), else with 1.

It asks by the port and with TLS as the worker has them. Whose certificate it is does not matter: it is its own."""

import http.client
import os
import ssl
import sys

SECONDS = 4


def main() -> int:
    """Ask once. Prints in one line why it is not well."""
    port = int(os.environ.get("PORT", "6066"))
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    if os.environ.get("HTTP_TLS_CERT_FILE"):
        trusting = ssl._create_unverified_context()
        asked = http.client.HTTPSConnection("127.0.0.1", port, timeout=SECONDS, context=trusting)
    try:
        asked.request("GET", "/health/live")
        status = asked.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        print(f"port {port}: {error}")
        return 1
    finally:
        asked.close()
    print(f"port {port}: {status}")
    return 0 if status == 200 else 1


if __name__ == "__main__":
    sys.exit(main())
