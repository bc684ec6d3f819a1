"""For operators: status, lag, metrics, orders to projections, and their command line."""
