"""Which worker and which build of a table answers a query.

`Placement` says where partitions are, `Workers` asks other workers with signed requests, `QueryRouter` answers here,
has the owner of a key answer, or puts the parts of all workers together. `ReadYourWrites` waits for positions,
`Cutover` makes a new build the active one.
"""
