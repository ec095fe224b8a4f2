"""Readers: one AI for one clinical question, a folder each, found by entry point ``readingroom.readers``."""
