"""The life of a reader version: added, candidate, shadow, live, retired; signed, and checked each time it is used."""
