"""Reporting checklists as data, filled for a reader from what ran. What no run can know stays open, for a person."""
