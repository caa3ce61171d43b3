"""A folder of photos becomes a run folder: networks, settings, the two phases, checkpoints, and who may watch."""
