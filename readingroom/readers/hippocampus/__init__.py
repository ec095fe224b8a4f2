"""``hippocampus``: anterior and posterior hippocampus of both sides on T1 MR of the head, their volumes."""
