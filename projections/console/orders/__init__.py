"""Orders to the owners of logs: dead letters that are dropped, and quarantines that are released."""
