"""The reader ``glioma``: FLAIR abnormality suspicious for glioma on brain MR."""
