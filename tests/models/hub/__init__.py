"""Fetching from a stand-in of the model hub, by the hub's own client in its own process."""
