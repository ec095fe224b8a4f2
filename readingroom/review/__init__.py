"""Verdicts: what radiologists decide about findings."""
