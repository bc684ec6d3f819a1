"""Least rights, made from the wiring: what Kafka and the databases are to allow the user of an app, and no more."""
