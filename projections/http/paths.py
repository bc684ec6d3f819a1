"""The paths of aggregates: `/orders` for those of type `order`."""


def collection(type: str) -> str:
    """The name of all aggregates of a type in paths, in lists, and as the tag of what is about them."""
    return f"{type}s"
