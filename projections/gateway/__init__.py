"""Commands over HTTP: from a request to Kafka, and from the reply to the response."""
