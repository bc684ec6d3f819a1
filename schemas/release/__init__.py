"""The release tool: whether a change of the schema files would break somebody, the lock, samples.

`check.check` is where it begins; `check_form` and `check_versions` have the rules.
"""
