"""Who asks over HTTP, and what he may: tokens, OIDC, client certificates, grants, and TLS of the port.

`Access` puts them together from the settings. Knows no routes: what a route needs is said beside its view
(`streams/web/operation.py`), and held against these by `streams/runtime/access_guard.py`.
"""
