"""What training, serving and monitoring agree on, and the only code they share."""
