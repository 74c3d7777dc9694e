"""The documented part of PromQL, evaluated over series that are held in memory; as Prometheus 2.x does it."""
