"""Servers as companies run them, for tests and to try a secured system out: their certificates, the tokens and rights
of their users, and Kafka brokers with all of it: `python -m servers.secured --help`."""
