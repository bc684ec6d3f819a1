"""The read side: tailer, tables and views."""
