"""What every worker answers over HTTP: its health, its logs, and how operations are described."""
