"""The write side: `ownership` takes groups and commits them, `deciding` decides them, `journal` keeps and fences.

`kafka`, `runtime`, `web`, `cli` and `concurrency` serve the read side as well.
"""
