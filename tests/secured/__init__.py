"""Servers as companies run them, and the system on them: TLS and a login everywhere, and for each worker the rights
that its app prints, and no others. `make secured` runs the tests of `tests/e2e` here."""
