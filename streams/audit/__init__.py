"""The audit: each order of an operator, and what came of it, as events on a topic of the whole namespace.

An order is written down before it takes effect, and refused where it cannot be: nothing is changed without a trace.
`records` has the two events, `trail` writes them, `requests` makes them of HTTP requests, `reading` puts them together
again. The command line's orders are in `streams/cli/audit`.
"""
