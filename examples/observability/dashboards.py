"""The dashboards: `python -m examples.observability.dashboards` writes `grafana/*.json` anew."""

# ruff: noqa: E501  (a panel a line reads as a table)

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("grafana")
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
RATE = "$__rate_interval"
WIDTH, HEIGHT = 24, 8
TYPE = 'type=~"$type"'


@dataclass(frozen=True)
class Panel:
    """One panel: queries by their legends, in a `unit` of Grafana's; a `stat` shows the newest number alone."""

    title: str
    unit: str
    queries: dict[str, str]
    about: str = ""
    kind: str = "timeseries"
    width: int = 8
    exemplars: bool = False


@dataclass(frozen=True)
class Dashboard:
    """A dashboard: rows of panels by the titles of the rows."""

    uid: str
    title: str
    rows: dict[str, Sequence[Panel]]

    def json(self) -> str:
        """As Grafana imports it."""
        dashboard = {
            "uid": self.uid,
            "title": self.title,
            "tags": ["sourced"],
            "schemaVersion": 39,
            "editable": True,
            "refresh": "10s",
            "time": {"from": "now-1h", "to": "now"},
            "links": [{"type": "dashboards", "tags": ["sourced"], "title": "sourced", "asDropdown": True}],
            "templating": {"list": VARIABLES},
            "panels": list(self._panels()),
        }
        return json.dumps(dashboard, indent=1) + "\n"

    def _panels(self) -> Iterable[dict[str, Any]]:
        number = y = 0
        for title, panels in self.rows.items():
            number += 1
            place = {"x": 0, "y": y, "w": WIDTH, "h": 1}
            yield {"id": number, "type": "row", "title": title, "collapsed": False, "gridPos": place, "panels": []}
            y, x = y + 1, 0
            for panel in panels:
                number += 1
                if x + panel.width > WIDTH:
                    x, y = 0, y + HEIGHT
                yield _panel(panel, number, {"x": x, "y": y, "w": panel.width, "h": HEIGHT})
                x += panel.width
            y += HEIGHT


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"showLegend": True, "placement": "bottom"}} if panel.kind == "timeseries" else {},
        "targets": [
            {"refId": chr(ord("A") + at), "expr": query, "legendFormat": legend, "exemplar": panel.exemplars}
            for at, (legend, query) in enumerate(panel.queries.items())
        ],
    }


VARIABLES = [
    {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Prometheus"},
    {
        "name": "type",
        "type": "query",
        "label": "aggregate type",
        "datasource": SOURCE,
        "query": {"query": "label_values(sourced_commands_total, type)", "refId": "type"},
        "refresh": 2,
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    },
]


def rate(metric: str, *by: str, where: str = "") -> str:
    """How fast a counter rises, a second."""
    selector = f"{metric}{{{where}}}" if where else metric
    return f"sum by ({', '.join(by)}) (rate({selector}[{RATE}]))" if by else f"sum(rate({selector}[{RATE}]))"


def quantile(share: float, metric: str, *by: str, where: str = "") -> str:
    """The value that a share of the values of a histogram is below."""
    return f"histogram_quantile({share}, {rate(f'{metric}_bucket', 'le', *by, where=where)})"


def quantiles(metric: str, *by: str, where: str = "") -> dict[str, str]:
    """The median, and what 99 of 100 values are below."""
    name = " ".join(f"{{{{{label}}}}}" for label in by)
    return {f"{name} p{share * 100:.0f}".strip(): quantile(share, metric, *by, where=where) for share in (0.5, 0.99)}


OVERVIEW = Dashboard(
    "sourced-overview",
    "sourced: overview",
    {
        "Is all well?": [
            Panel("Workers ready", "short", {"ready": "sum(sourced_worker_ready)"}, kind="stat", width=4),
            Panel("Workers not ready", "short", {"not ready": "sum(sourced_worker_ready == bool 0)"}, kind="stat", width=4),
            Panel("Logs not served", "short", {"logs": "sum(max by (log) (sourced_log_serving) == bool 0)"}, kind="stat", width=4),
            Panel("Commands failed in an hour", "short", {"failed": 'sum(increase(sourced_commands_total{outcome="failed"}[1h]))'}, kind="stat", width=4),
            Panel("Age of the oldest event not in a table", "s", {"lag": 'max(sourced_table_lag_seconds{serving="true"})'}, kind="stat", width=4),
            Panel("Lateness of the oldest timer", "s", {"late": "max(sourced_timers_late_seconds)"}, kind="stat", width=4),
        ],
        "What goes through": [
            Panel("Commands", "ops", {"{{outcome}}": rate("sourced_commands_total", "outcome")}),
            Panel("Seconds of a command, from Kafka to its reply", "s", quantiles("sourced_command_seconds"), exemplars=True),
            Panel("Seconds from a decision to a table", "s", {"{{table}} p99": quantile(0.99, "sourced_visible_seconds", "table")}),
            Panel("Requests over HTTP", "reqps", {"{{status}}": rate("sourced_http_requests_total", "status")}),
            Panel("Seconds of a request", "s", quantiles("sourced_http_request_seconds")),
            Panel("Age of the oldest event not in a table", "s", {"{{table}}": 'max by (table) (sourced_table_lag_seconds{serving="true"})'}),
        ],
        "Workers": [
            Panel("Processor", "percentunit", {"{{instance}}": f"rate(process_cpu_seconds_total[{RATE}])"}, about="1 is a whole core."),
            Panel("Memory", "bytes", {"{{instance}}": "process_resident_memory_bytes"}),
            Panel("Troubles", "short", {"{{instance}}": "sourced_worker_troubles"}, about="Tasks that do not run well: /health/ready says why."),
            Panel("Open connections", "short", {"{{instance}}": "sourced_http_connections"}),
            Panel("Open files", "short", {"{{instance}}": "process_open_fds"}),
            Panel("Which app", "short", {"{{instance}} {{app}}": "sourced_worker_info"}),
        ],
    },
)  # fmt: skip

WRITE_SIDE = Dashboard(
    "sourced-write-side",
    "sourced: write side",
    {
        "Commands": [
            Panel("By command", "ops", {"{{type}} {{command}}": rate("sourced_commands_total", "type", "command", where=TYPE)}),
            Panel("Not accepted", "ops", {"{{type}} {{command}} {{outcome}}": rate("sourced_commands_total", "type", "command", "outcome", where=f'outcome!="accepted", {TYPE}')}),
            Panel("Seconds, from Kafka to the reply", "s", quantiles("sourced_command_seconds", "type", where=TYPE), exemplars=True),
            Panel("Events", "ops", {"{{type}}": rate("sourced_events_total", "type", where=TYPE)}),
            Panel("Dead letters", "ops", {"{{type}} {{reason}}": rate("sourced_dead_letters_total", "type", "reason", where=TYPE)}),
            Panel("Into quarantine", "ops", {"{{type}}": rate("sourced_quarantines_total", "type", where=TYPE)}),
        ],
        "Groups": [
            Panel("Bringing aggregates into memory", "s", quantiles("sourced_load_seconds", "type", where=TYPE)),
            Panel("Deciding", "s", quantiles("sourced_decide_seconds", "type", where=TYPE)),
            Panel("Writing to the journal", "s", quantiles("sourced_commit_seconds", "type", where=TYPE)),
            Panel("Commands in a commit", "short", quantiles("sourced_commit_commands", "type", where=TYPE)),
            Panel("Commands that wait", "short", {"{{log}}": f"sourced_queue_commands{{{TYPE}}}"}),
            Panel("Bytes that wait", "bytes", {"{{log}}": f"sourced_queue_bytes{{{TYPE}}}"}),
        ],
        "Memory": [
            Panel("Aggregates found in memory", "percentunit", {"{{type}}": f"{rate('sourced_cache_hits_total', 'type', where=TYPE)} / ({rate('sourced_cache_hits_total', 'type', where=TYPE)} + {rate('sourced_cache_loads_total', 'type', where=TYPE)})"}),
            Panel("Aggregates in memory", "short", {"{{log}}": f"sourced_cache_aggregates{{{TYPE}}}"}),
            Panel("Their bytes", "bytes", {"{{log}}": f"sourced_cache_bytes{{{TYPE}}}"}),
        ],
        "Owners": [
            Panel("Logs served", "short", {"{{log}}": f"max by (log) (sourced_log_serving{{{TYPE}}})"}),
            Panel("Takeovers", "ops", {"{{type}}": rate("sourced_takeover_seconds_count", "type", where=TYPE)}),
            Panel("Seconds of a takeover", "s", quantiles("sourced_takeover_seconds", "type", where=TYPE)),
            Panel("Lost", "ops", {"{{type}} {{reason}}": rate("sourced_ownership_lost_total", "type", "reason", where=TYPE)}),
            Panel("Commits that are not derived", "short", {"{{log}}": f"sourced_log_head_commit{{{TYPE}}} - sourced_log_derived_commit{{{TYPE}}}"}),
            Panel("Partitions that are held", "short", {"{{log}}": f"sourced_log_held_slices{{{TYPE}}}"}),
            Panel("Replies on their way", "short", {"{{instance}}": "sourced_replies_unsent"}),
            Panel("Replies lost", "ops", {"{{instance}}": rate("sourced_replies_lost_total", "instance")}),
        ],
    },
)  # fmt: skip

READ_SIDE = Dashboard(
    "sourced-read-side",
    "sourced: read side",
    {
        "Publishing": [
            Panel("Events put on their topic", "ops", {"{{type}}": rate("sourced_published_events_total", "type", where=TYPE)}),
            Panel("Seconds from a decision to the topic", "s", quantiles("sourced_publish_seconds", "type", where=TYPE)),
            Panel("Events not on their topic", "short", {"{{stream}}": "max by (stream) (sourced_stream_unpublished_events)"}),
            Panel("Newest commit", "short", {"{{stream}} journal": "max by (stream) (sourced_stream_head_commit)", "{{stream}} topic": "max by (stream) (sourced_stream_published_commit)"}),
        ],
        "Tables": [
            Panel("Events applied", "ops", {"{{table}}": rate("sourced_table_events_total", "table")}),
            Panel("Seconds of a batch", "s", quantiles("sourced_apply_seconds", "type", where=TYPE)),
            Panel("Seconds from a decision to the table", "s", quantiles("sourced_visible_seconds", "table")),
            Panel("Behind, in events", "short", {"{{table}}": "max by (table) (sourced_table_lag_events)"}),
            Panel("Behind, in seconds", "s", {"{{table}}": "max by (table) (sourced_table_lag_seconds)"}),
            Panel("Behind, in commits", "short", {"{{table}}": "max by (table) (sourced_table_lag_commits)"}),
            Panel("Newest commit applied", "short", {"{{table}}": "max by (table) (sourced_table_applied_commit)"}),
            Panel("Batches not taken", "ops", {"{{table}}": rate("sourced_table_errors_total", "table")}),
            Panel("Partitions that stand still", "short", {"{{table}}": "sum by (table) (sourced_table_held_partitions)"}),
            Panel("Keys whose events wait", "short", {"{{table}}": "sum by (table) (sourced_table_quarantined_keys)"}),
        ],
        "HTTP": [
            Panel("Requests", "reqps", {"{{method}} {{route}}": rate("sourced_http_requests_total", "method", "route")}),
            Panel("Not well", "reqps", {"{{route}} {{status}}": rate("sourced_http_requests_total", "route", "status", where='status=~"[45].."')}),
            Panel("Seconds of a request", "s", {"{{method}} {{route}} p99": quantile(0.99, "sourced_http_request_seconds", "method", "route")}),
            Panel("Clients that follow", "short", {"{{instance}}": "sourced_streams_open"}),
        ],
    },
)  # fmt: skip

PROCESSES = Dashboard(
    "sourced-processes",
    "sourced: processes and timers",
    {
        "Process managers": [
            Panel("Events before them", "short", {"{{type}} {{topic}}": "sum by (type, topic) (sourced_input_behind_events)"}),
            Panel("Partitions that stand still", "short", {"{{type}} {{topic}}": "sum by (type, topic) (sourced_input_held_partitions)"}),
            Panel("Commands that they send", "ops", {"{{type}} to {{to}}": rate("sourced_commands_sent_total", "type", "to")}),
        ],
        "Timers": [
            Panel("Late", "short", {"{{log}}": "max by (log) (sourced_timers_late)"}),
            Panel("Seconds of the latest", "s", {"{{log}}": "max by (log) (sourced_timers_late_seconds)"}),
            Panel("Seconds from due to fired", "s", quantiles("sourced_timer_delay_seconds")),
        ],
        "Keys of persons": [
            Panel("Age of the key that wraps them", "s", {"age": "max(sourced_key_period_age_seconds)"}),
            Panel("Renewals", "short", {"{{outcome}}": "sum by (outcome) (increase(sourced_key_renewals_total[1d]))"}),
        ],
    },
)  # fmt: skip

DASHBOARDS = {"overview": OVERVIEW, "write-side": WRITE_SIDE, "read-side": READ_SIDE, "processes": PROCESSES}
"""By the names of their files."""


def main() -> None:
    """Write all of them."""
    for name, dashboard in DASHBOARDS.items():
        (FOLDER / f"{name}.json").write_text(dashboard.json(), "utf-8")


if __name__ == "__main__":
    main()
