"""Kernels: tensors in, tensors out. They know torch (and triton) and nothing of the project.

One operation so far: `fdvs.kernels.dga`, attention with a smaller KV cache.
"""
