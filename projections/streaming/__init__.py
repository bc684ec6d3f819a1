"""Server-sent events: frames, the connections of clients, and the cursor of a client that follows a list."""
