"""What is wrong, what it means and what to do: rules over a snapshot of the system, without input and output."""
