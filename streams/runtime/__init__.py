"""What a process needs around Faust: the application, hints past its streams, the web server, preparation."""
