"""A journal as a file: what cannot be made again, written down, and put into an empty journal of any store."""
