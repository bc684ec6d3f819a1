"""The release tool: whether a change of the schemas would break somebody, the lock, samples."""
