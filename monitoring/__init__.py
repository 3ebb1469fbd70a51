"""Statistics, drift, performance and the retraining decision, from the prediction log and the reference."""
