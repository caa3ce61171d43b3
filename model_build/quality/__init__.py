"""How good a model is, whether it says so honestly, and whether that is good enough to publish."""
