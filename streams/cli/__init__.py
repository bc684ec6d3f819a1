"""The command line of a context: `faust -A <app> <command>`. Nothing but the composition roots imports it."""
