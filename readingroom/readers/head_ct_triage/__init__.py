"""The reader ``head-ct-triage``: bleeding and its types, midline shift, fracture in shadow."""
