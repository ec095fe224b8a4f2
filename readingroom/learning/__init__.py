"""The workshop: cohorts, label sets, training runs, versions of readers and their drift."""
