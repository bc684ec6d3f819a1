"""What others do with the same commands on the same servers: each a program that is asked line by line."""
