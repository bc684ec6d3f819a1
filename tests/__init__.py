"""The tests. `unit`, `compatibility`, `simulation` and `fuzz` need no server; `contract`, `e2e` and the others do.

`foreign` sends and reads in other languages, `bench` measures; `fragile`, `rebuild` and `rolling` are apps of tests.
"""
