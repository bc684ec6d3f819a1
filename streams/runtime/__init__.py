"""What a process needs around Faust: the application, where logs are placed, hints past Faust, membership, web server, preparation."""
