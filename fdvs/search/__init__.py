"""Full text, vectors and pictures: moments and videos that match a query."""
