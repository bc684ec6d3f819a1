"""The queries that an app can add: a row, a list, a history, schemas; a row and a list also as streams of changes.

Each `add_..` function serves one kind of path and describes it for the OpenAPI document.
"""
