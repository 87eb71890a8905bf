"""Benchmark annotations as typed examples; ships no data.

One file a dataset: `parse(files, split)` turns its official files into `Parsed`. To add one, write
that function, a card in `cards/`, a line in `registry.py` and tiny files in
`tests/datasets/conftest.py`.
"""
