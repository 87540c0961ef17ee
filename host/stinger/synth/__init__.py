"""Synthetic recordings, seeded, with ground truth."""
