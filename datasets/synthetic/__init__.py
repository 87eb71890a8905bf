"""Films of our own with known truth: recipes, the films made from them, and their questions."""
