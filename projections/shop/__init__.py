"""The shop's projections and their app."""
