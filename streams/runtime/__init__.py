"""What a process needs around Faust: the application, reading Kafka past Faust, membership, web server, preparation."""
