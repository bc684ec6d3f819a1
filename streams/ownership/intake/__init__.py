"""The way in of a log's commands: in the order of each slice's offsets, into a queue of bounded size.

What is here knows of messages, and nothing of the owner that takes groups of them.
"""
