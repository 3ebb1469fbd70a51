"""What `pipelines.explain` is made of: the row with its past, the walk, and what a person sees of it."""
