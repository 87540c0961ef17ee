"""The `stinger` command: one thin module per verb."""
