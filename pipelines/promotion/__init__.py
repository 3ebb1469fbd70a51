"""Promotion by a click in MLflow: what is refused there, and how a click comes to be a deployment."""
