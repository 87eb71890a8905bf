"""Build a library: read, embed, describe, finish."""
