"""What is written down of the answers: the prediction log and the metrics."""
