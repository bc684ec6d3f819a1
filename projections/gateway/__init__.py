"""Commands over HTTP, from a request to Kafka, and from the reply to the response.

In this order: `CommandReader` reads a request, `Deliveries` produces the command and a note of it, `ReplyWaiters` has
the requests that wait, `Replies` reads the topic of notes and replies into the `CommandLog`, and `Gateway` answers.
`PendingCommands` counts the commands without a reply.
"""
