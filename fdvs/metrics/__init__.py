"""Scores of public benchmarks: plain numbers in, plain numbers out; no model, no file."""
