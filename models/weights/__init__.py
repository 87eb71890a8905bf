"""Model files: fetched, verified, converted, loaded."""
