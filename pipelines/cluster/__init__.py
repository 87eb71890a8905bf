"""Build on several processes or machines: workers by Ray, one writer."""
