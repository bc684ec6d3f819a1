"""The queries that an app can add: a row, a list, a history, schemas; each as a stream too."""
