"""The library on disk: SQLite file, artifacts, names, locks."""
