"""The system on a Kafka that lets nobody do what was not granted."""
