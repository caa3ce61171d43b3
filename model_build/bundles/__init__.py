"""Bundles: made, proven, published, promoted, rolled back."""
