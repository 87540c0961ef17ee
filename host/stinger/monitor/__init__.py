"""Live views of a board."""
