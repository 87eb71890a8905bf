"""Local language models that read through grouped attention."""
