"""In whose name commands come: workers sign it, owners hold it against the keys of their context.

`signature` says what is signed, and how keys are made of one another; `key_ring` has the keys of a context, and
`key_topic` reads them. They are made and handed out by the read side (`projections/gateway/key_authority.py`).
"""
