"""A whole project on one machine without any server, for development and tests: `sourced dev`."""
