"""Which models answer: the desired state, the versions that follow it, and one verified model."""
