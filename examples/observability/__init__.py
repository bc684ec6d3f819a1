"""Prometheus and Grafana for this system: what to scrape, alert rules, dashboards."""
