"""The shop's queries over HTTP, what they take and what they answer."""
