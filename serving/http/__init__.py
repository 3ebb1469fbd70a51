"""The HTTP surface: what callers send and get."""
