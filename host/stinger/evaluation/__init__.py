"""Metrics of a model on windows it never saw."""
