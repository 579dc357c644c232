"""Rows and arrays into figures, pages and exports for people."""
