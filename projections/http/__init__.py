"""What requests and responses have in common: positions, pages, ETags, bodies, problems, hops between workers."""
