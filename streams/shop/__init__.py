"""The shop's command apps, one context each."""
