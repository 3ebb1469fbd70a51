"""What `pipelines.reproduce` is made of: the version as it was registered, and the rebuild beside it."""
