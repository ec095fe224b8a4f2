"""The reader ``head-ct-triage``: bleeding and its types on non-contrast head CT; skull fracture in shadow only."""
