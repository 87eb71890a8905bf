"""Evaluation on public benchmarks: rows, their controls, and what is written about them."""
