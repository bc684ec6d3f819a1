"""Key management: who holds the keys that wrap the keys of the periods, and destroys them."""
