"""The reader ``alzheimer``: how far volumes and cortical thickness are from those of healthy people of the same age."""
