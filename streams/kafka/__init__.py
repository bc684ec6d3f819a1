"""Kafka: one client for all that is sent and looked up, topics by their names, and the net below all that is read."""
