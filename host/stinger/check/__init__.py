"""Host against device, level by level."""
