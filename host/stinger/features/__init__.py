"""Feature sets: integer definitions, exact on int16 samples; floating-point ones for comparison."""
