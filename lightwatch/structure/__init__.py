"""What is kept: SQL, HDF5, FITS, YAML, network. No science."""
