"""Finding types, code and rule tables as data. Pure: no database, no files but its own tables."""
