"""The write side: command agents, exclusive owners and the journal."""
