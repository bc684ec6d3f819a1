"""What a process needs around Faust: the application, where logs are placed, hints, membership, web server,
preparation."""
