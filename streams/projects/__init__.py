"""What is done with a project as a whole: `sourced` is its command line, `project` reads its table in pyproject.toml.

Nothing imports it but the console script.
"""
