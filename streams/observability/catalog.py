"""All metrics of all workers: what they are called, what they mean, how they are labelled.

Names are those of Prometheus' conventions: a prefix, what is counted, the base unit, `_total` for a counter. Labels
have few values: aggregate types, commands and outcomes that the wiring knows, logs, streams, tables, routes. What is
not known, since anybody may have sent it, is `OTHER`.
"""

from __future__ import annotations

from streams.observability.instruments import Metric, counter, gauge, histogram

OTHER = "other"
"""A label for all that the wiring does not know."""

LATENCY = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
"""Seconds: from a write of a store beside the worker to a minute, in which somebody has noticed."""
DELAY = (*LATENCY, 300.0, 1800.0, 7200.0)
"""Seconds, of what may stand still without anybody waiting."""
COMMANDS_OF_COMMIT = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0)

# -- every worker ------------------------------------------------------------------------------------------------------

WORKER_INFO = gauge("sourced_worker_info", "1, for the app that this worker runs", "app")
WORKER_READY = gauge("sourced_worker_ready", "Whether this worker serves all that is assigned to it")
WORKER_TROUBLES = gauge("sourced_worker_troubles", "Tasks that have failed and do not run well again")
HTTP_REQUESTS = counter("sourced_http_requests_total", "Requests answered over HTTP", "method", "route", "status")
HTTP_SECONDS = histogram(
    "sourced_http_request_seconds",
    "From the head of a request over HTTP to its answer, without streams",
    "method",
    "route",
    buckets=LATENCY,
)
HTTP_CONNECTIONS = gauge("sourced_http_connections", "Open connections to the web port")

# -- the write side: workers that decide commands ----------------------------------------------------------------------

COMMANDS = counter("sourced_commands_total", "Commands decided, by what came of them", "type", "command", "outcome")
COMMAND_SECONDS = histogram(
    "sourced_command_seconds",
    "From a command's time in Kafka to its reply being sent",
    "type",
    "outcome",
    buckets=DELAY,
)
EVENTS = counter("sourced_events_total", "Events that commands have caused", "type")
LOAD_SECONDS = histogram(
    "sourced_load_seconds", "Bringing the aggregates of a group into memory", "type", buckets=LATENCY
)
DECIDE_SECONDS = histogram("sourced_decide_seconds", "Deciding a group of commands", "type", buckets=LATENCY)
COMMIT_SECONDS = histogram("sourced_commit_seconds", "Writing a commit to the journal", "type", buckets=LATENCY)
COMMIT_COMMANDS = histogram(
    "sourced_commit_commands", "Commands that share a commit", "type", buckets=COMMANDS_OF_COMMIT
)
CACHE_HITS = counter("sourced_cache_hits_total", "Aggregates of groups that were in memory", "type")
CACHE_LOADS = counter("sourced_cache_loads_total", "Aggregates of groups that were loaded from the journal", "type")
CACHE_AGGREGATES = gauge("sourced_cache_aggregates", "Aggregates in memory", "type", "log")
CACHE_BYTES = gauge("sourced_cache_bytes", "About the memory that they take, of CACHE_BYTES", "type", "log")
QUEUE_COMMANDS = gauge("sourced_queue_commands", "Commands that wait for a group", "type", "log")
QUEUE_BYTES = gauge("sourced_queue_bytes", "Bytes of commands that wait for a group", "type", "log")
TAKEOVER_SECONDS = histogram("sourced_takeover_seconds", "Taking over a log", "type", buckets=LATENCY)
OWNERSHIP_LOST = counter("sourced_ownership_lost_total", "Logs lost, not let go: by why", "type", "reason")
DEAD_LETTERS = counter("sourced_dead_letters_total", "Commands that failed and are kept, by why", "type", "reason")
QUARANTINES = counter("sourced_quarantines_total", "Aggregates that went into quarantine", "type")
LOG_SERVING = gauge("sourced_log_serving", "Whether a log that is placed here is served", "type", "log")
LOG_HEAD = gauge("sourced_log_head_commit", "The newest commit of a log that is owned here", "type", "log")
LOG_DERIVED = gauge(
    "sourced_log_derived_commit", "The newest commit up to which all is derived that follows from it", "type", "log"
)
LOG_HELD = gauge(
    "sourced_log_held_slices", "Slices whose commands wait, since this version does not know an event", "type", "log"
)
REPLIES_UNSENT = gauge("sourced_replies_unsent", "Replies on their way to Kafka")
REPLIES_LOST = counter("sourced_replies_lost_total", "Replies that could not be sent, or may not")

# -- processes: what hears, sends and waits ----------------------------------------------------------------------------

INPUT_BEHIND = gauge(
    "sourced_input_behind_events", "Events that a process manager hears and that are not routed", "type", "topic"
)
INPUT_HELD = gauge(
    "sourced_input_held_partitions", "Partitions that a process manager hears and that stand still", "type", "topic"
)
COMMANDS_SENT = counter("sourced_commands_sent_total", "Commands that events have caused", "type", "to")
TIMERS_LATE = gauge("sourced_timers_late", "Timers that are due and have not fired", "log")
TIMERS_LATE_SECONDS = gauge("sourced_timers_late_seconds", "For how long the oldest of them is due", "log")
TIMER_DELAY = histogram(
    "sourced_timer_delay_seconds", "From a timer being due to the decision that fires it", buckets=DELAY
)
KEY_PERIOD_AGE = gauge(
    "sourced_key_period_age_seconds", "Age of the key that wraps those of persons, which is renewed every KEY_DAYS"
)
KEY_RENEWALS = counter("sourced_key_renewals_total", "Renewals of the keys of persons, also failed ones", "outcome")

# -- the read side: workers that publish events, keep tables and answer ------------------------------------------------

PUBLISHED_EVENTS = counter("sourced_published_events_total", "Events put on their topic", "type")
PUBLISH_SECONDS = histogram(
    "sourced_publish_seconds", "From a decision to its events being on their topic", "type", buckets=DELAY
)
STREAM_HEAD = gauge("sourced_stream_head_commit", "The newest commit that holds an event of a stream", "stream")
STREAM_PUBLISHED = gauge(
    "sourced_stream_published_commit", "The newest commit whose events are on their topic", "stream"
)
STREAM_UNPUBLISHED = gauge("sourced_stream_unpublished_events", "Events that are not on their topic yet", "stream")
TABLE_APPLIED = gauge(
    "sourced_table_applied_commit", "The newest commit that a table has whole", "stream", "table", "serving"
)
TABLE_LAG_COMMITS = gauge(
    "sourced_table_lag_commits",
    "Commits that a table is behind the journal, no more than there are events",
    "stream",
    "table",
    "serving",
)
TABLE_LAG_EVENTS = gauge(
    "sourced_table_lag_events", "Events that a table is behind the journal", "stream", "table", "serving"
)
TABLE_LAG_SECONDS = gauge(
    "sourced_table_lag_seconds", "Age of the oldest event that is not applied", "stream", "table", "serving"
)
TABLE_QUARANTINED = gauge("sourced_table_quarantined_keys", "Keys of a table whose events wait", "stream", "table")
TABLE_HELD = gauge(
    "sourced_table_held_partitions", "Partitions in which nothing is applied to a table, since that fails", "table"
)
TABLE_EVENTS = counter("sourced_table_events_total", "Events applied to a table", "table")
TABLE_ERRORS = counter("sourced_table_errors_total", "Batches that a table did not take", "table")
APPLY_SECONDS = histogram(
    "sourced_apply_seconds", "Applying a batch of events to all tables of their type", "type", buckets=LATENCY
)
VISIBLE_SECONDS = histogram(
    "sourced_visible_seconds",
    "From a decision to its events being in a table, of tables that had caught up",
    "table",
    buckets=DELAY,
)
STREAMS_OPEN = gauge("sourced_streams_open", "Clients that follow rows or lists")

METRICS: dict[str, Metric] = {value.name: value for value in list(globals().values()) if isinstance(value, Metric)}
"""All of them by name."""
