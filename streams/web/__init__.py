"""What every worker answers over HTTP: its health, its partitions, and how operations are described."""
