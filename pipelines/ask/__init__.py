"""Questions to an open library, one at a time or as a batch."""
