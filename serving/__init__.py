"""The BentoML service: knows models only through their bundles."""
