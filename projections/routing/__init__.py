"""Which worker and which build of a table answers a query, reading one's own writes, the cutover to a new build."""
