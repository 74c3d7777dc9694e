"""A stand-in for Prometheus: scrapes, evaluates a documented part of its rules, and tells Alertmanager."""
