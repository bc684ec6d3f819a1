"""From the messages of a log to a decided group: reading, loading, deciding, encoding, setting a key aside."""
