"""A small broker that speaks Kafka's wire protocol on this machine, for development and tests: the same clients, and so
the same engine, run over it. What it does otherwise than Kafka stands in docs/dev.md."""
