"""The settings by which a worker tells of its work in traces."""

from __future__ import annotations

from dataclasses import dataclass

from streams.security.secret import NO_SECRET, Secret


@dataclass(frozen=True)
class TraceSettings:
    """Where spans go, by OpenTelemetry's own names: https://opentelemetry.io/docs/specs/otel/configuration. Those that
    are not here, OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, its library reads."""

    otel_exporter_otlp_endpoint: str = ""
    """The collector, `http://host:4318`. Without it there are no traces."""
    otel_exporter_otlp_traces_endpoint: str = ""
    """The same with the path, where that is not `/v1/traces`."""
    otel_exporter_otlp_headers: Secret = NO_SECRET
    """What requests have with them: `name=value`, with `,` between several."""
    otel_exporter_otlp_certificate: str = ""
    """The authorities that the collector's certificate is to be from; empty: those of the system."""
    otel_exporter_otlp_protocol: str = ""
    otel_traces_exporter: str = ""
    otel_traces_sampler: str = ""
    otel_traces_sampler_arg: str = ""
    otel_sdk_disabled: str = ""
    traces_url: str = ""
    """The page of a trace, for links: `http://jaeger:16686/trace/{trace_id}`."""

    @property
    def collector_url(self) -> str:
        """Where spans go; empty for nowhere."""
        is_off = self.otel_sdk_disabled.casefold() == "true" or self.otel_traces_exporter.casefold() == "none"
        base = self.otel_exporter_otlp_endpoint
        url = self.otel_exporter_otlp_traces_endpoint or (base and base.rstrip("/") + "/v1/traces")
        return "" if is_off else url
