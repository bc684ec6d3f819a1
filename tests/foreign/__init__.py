"""Programs in other languages, written for nobody in particular, read our events and send us commands."""
