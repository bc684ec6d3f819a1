"""The system on three brokers of Kafka, of which one or more fail under load."""
