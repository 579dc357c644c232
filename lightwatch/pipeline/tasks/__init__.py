"""One module per task: load, compute, save."""
