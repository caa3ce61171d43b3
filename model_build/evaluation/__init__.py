"""How good a model is, in what two differ, and whether that is good enough to publish."""
