"""MLMD version 2: an integer model as one block of bytes that a board loads and runs in place; see docs/mlmd.md."""
