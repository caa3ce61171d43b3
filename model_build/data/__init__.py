"""Labelled photos: found, split, fetched, decoded."""
