"""Which frames and chapters repeat others and are dropped."""
