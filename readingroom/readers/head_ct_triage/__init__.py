"""Head CT in the emergency room: what must be seen first."""
