"""Drift watch: what a reader says on a scanner, over time, against what it said there at first."""
