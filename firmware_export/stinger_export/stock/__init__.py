"""What the stock firmware of the blaster runs: its model images (MLMD version 1) and its float32 arithmetic."""
