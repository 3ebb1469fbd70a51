"""Keeping a prediction log: few large segments instead of many small ones, and none older than wanted."""
