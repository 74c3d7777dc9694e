"""A team's alerting rules and routing: read, checked, copied for a rehearsal, and (a documented part) evaluated."""
