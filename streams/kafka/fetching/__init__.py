"""What brokers are asked for, in sessions, and the bytes of their answers."""
