"""What requests and responses have in common: parameters, positions, pages, ETags, bodies, problems.

`read_query` makes a request's parameters a struct. Handlers raise: `problems` has the exceptions, and the middleware
that answers for them. `forwarding` is one worker asking another. Knows no tables and no views.
"""
