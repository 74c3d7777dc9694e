"""A stand-in for Alertmanager: routes, groups and inhibits alerts, and tells webhooks until they answer."""
