"""The queries that an app can add: a row, a list, a history, schemas; rows and lists as streams of changes, too.

Each `add_..` function serves one kind of path, and describes it for the OpenAPI document.
"""
