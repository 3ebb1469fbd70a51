"""What only `python -m pipelines.demo` needs."""
