"""The shop's command apps, one context each. An example: the engine imports nothing of it."""
