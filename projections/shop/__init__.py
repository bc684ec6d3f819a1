"""The shop's projections and their app. An example: the engine imports nothing of it."""
