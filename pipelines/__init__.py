"""The shell around the pure packages: one file per step, run as `python -m pipelines.STEP`."""
