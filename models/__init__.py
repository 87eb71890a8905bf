"""Implementations of the protocols in `fdvs.protocols`: one file a kind of model.

Imports the core and `fdvs.kernels`; heavy packages are imported by the class that needs them.
"""
