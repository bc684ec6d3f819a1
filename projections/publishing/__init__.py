"""From the journal to Kafka. `tail.Tail` publishes one log, `publisher` is the part that runs all of them."""
