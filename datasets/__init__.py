"""Benchmark annotations as typed examples: one file a dataset. Ships no data."""
