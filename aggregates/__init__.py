"""The domain: pure deciders, free of Kafka, Cassandra and Faust. `shop` is the example, all else is the engine's."""
