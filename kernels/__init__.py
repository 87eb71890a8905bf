"""Kernels: tensors in, tensors out. They know torch (and triton) and nothing of the project.

One operation so far: `fdvs.kernels.dga`, attention that groups what matters less.
`backends()` says which of its implementations this machine can run, and why not the others.
"""

from __future__ import annotations

from fdvs.kernels.dga.backends import backends

__all__ = ["backends"]
