"""SOPs while a scenario runs: incidents, the durable queue, the runner, calls of a team's own platform."""
