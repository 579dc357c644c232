"""When, and where storage and science meet."""
