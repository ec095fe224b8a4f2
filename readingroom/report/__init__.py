"""The report: one model, drafted from accepted findings, signed, added to."""
