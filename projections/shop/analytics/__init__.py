"""Sales counted: by day and country, by product, by month, in baskets, and what is bought together."""
