"""The command line on the keys of persons."""
