"""Labelled images in the formats of other tools: what they hold, written to a folder, and read back as decisions."""
