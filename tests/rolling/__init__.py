"""A context in two versions, as they meet in a rolling deployment."""
