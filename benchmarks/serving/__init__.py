"""Serving measured: this service beside others over the same model and the same rows."""
