"""Container images: one generic server, and one image for each model (R5, R6)."""
