"""Server-sent events: frames, connections, and how far a follower is."""
