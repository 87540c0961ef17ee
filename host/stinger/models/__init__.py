"""Model families: fit, save, load."""
