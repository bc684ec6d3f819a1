"""Stories: what a command has caused, over all contexts, read from the journals: complete, and not sampled."""
