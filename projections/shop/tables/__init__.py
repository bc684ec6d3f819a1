"""The rows of orders, products, users and checkouts."""
