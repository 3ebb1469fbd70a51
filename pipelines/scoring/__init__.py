"""Batch scoring: tables in, answers of a released model out, in bounded memory and once per file."""
