"""The domain: pure deciders, free of Kafka, Cassandra and Faust."""
