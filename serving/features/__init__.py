"""The contract's aggregates, kept up to date event by event; no training library is needed."""
