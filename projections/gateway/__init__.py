"""Commands over HTTP, from a request to Kafka, and from the reply to the response.

In this order: `CommandReader` reads a request, `CommandRouter` hands it to the worker that has the partition of its id,
`Deliveries` produces the command and a note of it, `ReplyWaiters` has the requests that wait, `GatewayReplies` reads
the notes and replies of this worker's partitions into the `CommandLog`, and `Gateway` answers with `command_answers`.
`PendingCommands` counts the commands without a reply.
"""
