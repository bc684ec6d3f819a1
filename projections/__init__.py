"""The read side. `publishing` brings journals to Kafka, `applying` folds events into rows, and `stores` keeps rows.

`routing`, `views` and `streaming` answer queries, `gateway` takes commands, `app.ReadSide` wires all of it.
"""
