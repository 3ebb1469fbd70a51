"""What a check of a model in service reads and keeps."""
