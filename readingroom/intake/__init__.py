"""Series typing and quality: what came in, and is it fit to read."""
