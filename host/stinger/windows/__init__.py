"""Labelled windows cut from sessions, and how they are split."""
