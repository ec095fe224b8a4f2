"""A simulated day: what triage saves those who have the finding, and what it costs those who do not."""
