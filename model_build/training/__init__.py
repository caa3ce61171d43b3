"""A folder of photos becomes a run: networks, settings, the two phases, checkpoints, and who may watch."""
