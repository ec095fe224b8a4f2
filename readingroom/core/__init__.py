"""Ground floor: ids, clock, configuration, database session, outbox, permission names, audit sink, errors."""
