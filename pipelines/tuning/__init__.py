"""What `pipelines.tune` is made of: the space, the study that survives a kill, its picture in MLflow."""
