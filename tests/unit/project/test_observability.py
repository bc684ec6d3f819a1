"""Dashboards, alert rules and the page on metrics name what workers expose: see `tests/e2e/test_metrics.py`."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import promql_parser as promql
import pytest
import yaml

from examples.observability.dashboards import DASHBOARDS, FOLDER
from streams.observability.catalog import METRICS
from streams.observability.instruments import Metric

ROOT = Path(__file__).parents[3]
OF_PROMETHEUS = {"instance", "job"}
"""Labels that Prometheus adds."""
OTHERS = {"up", "process_cpu_seconds_total", "process_resident_memory_bytes", "process_open_fds"}
"""Metrics of Prometheus itself and of its library."""
SUFFIXES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_count", "_sum")}
SERIES = {f"{name}{suffix}": metric for name, metric in METRICS.items() for suffix in SUFFIXES[metric.kind]}
"""Metrics by the names of their series."""


class Rule(msgspec.Struct, forbid_unknown_fields=True, kw_only=True):
    """An alert rule as Prometheus reads it: it refuses a file with fields of other names."""

    alert: str
    expr: str
    labels: dict[str, str]
    annotations: dict[str, str]
    keep: str = msgspec.field(default="0s", name="for")


class Group(msgspec.Struct, forbid_unknown_fields=True):
    """A group of rules."""

    name: str
    rules: list[Rule]


class Rules(msgspec.Struct, forbid_unknown_fields=True):
    """A file of rules."""

    groups: list[Group]


ALERTS = [
    rule
    for group in msgspec.convert(
        yaml.safe_load((ROOT / "examples/observability/alerts.yml").read_text("utf-8")), Rules
    ).groups
    for rule in group.rules
]
QUERIES = [
    (f"{dashboard.uid}: {panel.title}", legend, query)
    for dashboard in DASHBOARDS.values()
    for panels in dashboard.rows.values()
    for panel in panels
    for legend, query in panel.queries.items()
]


def below(expression: Any) -> Iterator[Any]:
    """An expression of PromQL, and all that it is made of."""
    yield expression
    for name in ("lhs", "rhs", "expr", "vector_selector"):
        if (part := getattr(expression, name, None)) is not None:
            yield from below(part)
    for part in getattr(expression, "args", ()):
        yield from below(part)


def selectors(expression: Any) -> list[Any]:
    """What an expression reads."""
    return [part for part in below(expression) if isinstance(part, promql.VectorSelector)]


def parsed(query: str) -> Any:
    """A query as Prometheus reads it. Raises `ValueError`."""
    return promql.parse(query.replace("$__rate_interval", "5m"))


def labels_of(metric: Metric | None, series: str) -> set[str]:
    """The labels that a series has."""
    return {*(metric.labels if metric else ()), *(["le"] if series.endswith("_bucket") else []), *OF_PROMETHEUS}


def unknown(query: str, legend: str = "") -> list[str]:
    """Names in a query, and labels in its legend, that no worker exposes."""
    expression, wrong = parsed(query), []
    assert selectors(expression), query
    for part in below(expression):
        reads = selectors(part)
        if isinstance(part, promql.VectorSelector):
            if part.name not in SERIES and part.name not in OTHERS:
                wrong.append(part.name)
            used = {matcher.name for matcher in part.matchers.matchers}
        elif isinstance(part, promql.AggregateExpr) and part.modifier is not None:
            used = set(part.modifier.labels)
        else:
            continue
        wrong += [
            f"{read.name}: {name}" for read in reads for name in used - labels_of(SERIES.get(read.name), read.name)
        ]
    kept = [
        set(part.modifier.labels) for part in below(expression) if getattr(part, "modifier", None) and reads_by(part)
    ]
    known = set.intersection(*kept) if kept else labels_of(SERIES.get(selectors(expression)[0].name), "")
    return wrong + [f"legend: {name}" for name in re.findall(r"\{\{(\w+)\}\}", legend) if name not in known]


def reads_by(part: Any) -> bool:
    """Whether an expression keeps some labels only."""
    return isinstance(part, promql.AggregateExpr)


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: rule.alert)
def test_an_alert_names_what_there_is(rule: Rule) -> None:
    """Its expression is PromQL over metrics and labels that workers expose, and so are the labels of its summary."""
    assert [] == unknown(rule.expr)
    assert {"severity"} == set(rule.labels)
    assert rule.labels["severity"] in ("page", "ticket")
    named = set(re.findall(r"\$labels\.(\w+)", rule.annotations["summary"]))
    kept = [set(part.modifier.labels) for part in below(parsed(rule.expr)) if reads_by(part) and part.modifier]
    series = selectors(parsed(rule.expr))[0].name
    assert set() == named - (set.intersection(*kept) if kept else labels_of(SERIES.get(series), series))
    assert re.fullmatch(r"\d+[sm]", rule.keep)


def test_every_alert_has_its_line_in_operations() -> None:
    """Under "Alerts", with what it means and what to do; and no other has one."""
    text = (ROOT / "docs/operations.md").read_text("utf-8").partition("\n## Alerts\n")[2].partition("\n## ")[0]
    lines = re.findall(r"^\| `(\w+)` \| .+ \| .+ \|$", text, re.MULTILINE)
    assert lines == [rule.alert for rule in ALERTS]
    assert {"docs/operations.md#alerts"} == {rule.annotations["runbook"] for rule in ALERTS}


@pytest.mark.parametrize(("panel", "legend", "query"), QUERIES, ids=[panel for panel, _, _ in QUERIES])
def test_a_panel_reads_what_there_is(panel: str, legend: str, query: str) -> None:
    """Its queries are PromQL over metrics and labels that workers expose, and its legends have labels that are left."""
    assert [] == unknown(query, legend)


def test_dashboards_are_as_they_are_made() -> None:
    """`python -m examples.observability.dashboards` has been called since a panel was changed."""
    assert {f"{name}.json" for name in DASHBOARDS} == {path.name for path in FOLDER.iterdir()}
    for name, dashboard in DASHBOARDS.items():
        text = (FOLDER / f"{name}.json").read_text("utf-8")
        assert dashboard.json() == text
        ids = [panel["id"] for panel in json.loads(text)["panels"]]
        assert len(set(ids)) == len(ids)


def test_every_metric_is_on_a_dashboard() -> None:
    """So nobody counts what nobody looks at."""
    read = {selector.name for _, _, query in QUERIES for selector in selectors(parsed(query))}
    assert set() == METRICS.keys() - {SERIES[name].name for name in read if name in SERIES}


def test_what_does_not_exist_is_found() -> None:
    """A metric, a label of a matcher, of an aggregation and of a legend; and what is no PromQL."""
    assert ["sourced_nothing_total"] == unknown("rate(sourced_nothing_total[5m])")
    assert ["sourced_worker_ready: type"] == unknown('sourced_worker_ready{type="order"}')
    assert ["sourced_worker_ready: log"] == unknown("sum by (log) (sourced_worker_ready)")
    assert ["legend: table"] == unknown("sum by (log) (sourced_log_serving)", "{{table}}")
    with pytest.raises(ValueError, match="parenthesis"):
        unknown("sum(sourced_worker_ready")


@pytest.mark.parametrize("metric", METRICS.values(), ids=METRICS)
def test_names_are_those_of_prometheus_conventions(metric: Metric) -> None:
    """One prefix, `_total` for counters alone, base units; rising bounds: https://prometheus.io/docs/practices/naming."""
    assert re.fullmatch(r"sourced(_[a-z]+)+", metric.name)
    assert (metric.kind == "counter") == metric.name.endswith("_total")
    assert not re.search(r"_(ms|milliseconds|minutes|kb|megabytes|percent)\b", metric.name)
    assert (metric.kind == "histogram") == bool(metric.buckets)
    assert list(metric.buckets) == sorted(set(metric.buckets))
    assert metric.about[-1] != "."


def table() -> str:
    """The table of metrics for `docs/observability.md`."""
    rows = [
        f"| `{metric.name}` | {metric.kind} | {', '.join(f'`{label}`' for label in metric.labels)} | {metric.about} |"
        for metric in METRICS.values()
    ]
    return "\n".join(["| metric | kind | labels | what it is |", "|---|---|---|---|", *rows])


def test_the_page_has_all_metrics() -> None:
    """In a table as it is made here: copy it from the failure when a metric is new."""
    text = (ROOT / "docs/observability.md").read_text("utf-8")
    made = re.search(r"<!-- metrics: [^>]*-->\n(.*)\n<!-- /metrics -->", text, re.DOTALL)
    assert made is not None
    assert table() == made[1]
