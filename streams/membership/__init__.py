"""Who is in the consumer group of an app, who of them has died, and which of them has which logs."""
