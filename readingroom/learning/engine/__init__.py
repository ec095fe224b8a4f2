"""One engine that trains every reader from a recipe beside it: seeded, resumable after a kill, exported with a parity
test."""
