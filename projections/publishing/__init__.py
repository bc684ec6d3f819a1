"""From the journal to Kafka: the tail of each log, and how far it is."""
