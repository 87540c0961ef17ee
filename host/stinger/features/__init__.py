"""Feature sets: integer definitions, exact on int16 samples."""
