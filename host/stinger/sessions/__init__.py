"""Recordings: one Session type, a reader per format."""
