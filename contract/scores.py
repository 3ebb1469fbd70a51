"""Precomputed answers that can be looked up: one SQLite file a model, replaced as a whole, never changed.

Batch scoring publishes it, the service reads it.
"""

VERSION = 1  # of this layout, in the file's user_version
SUFFIX = ".sqlite"

# One row in `about`. Times are ISO 8601 in UTC; `classes` and `scores` are JSON arrays of the same length.
# `fresh_hours` is how old a score may be before it is called stale; null: it never is, for its age alone.
TABLES = f"""
CREATE TABLE about (
    model TEXT NOT NULL, version TEXT NOT NULL, digest TEXT NOT NULL, classes TEXT NOT NULL,
    published_at TEXT NOT NULL, fresh_hours REAL
);
CREATE TABLE scores (
    entity_id TEXT PRIMARY KEY, label TEXT NOT NULL, scores TEXT NOT NULL, scored_at TEXT NOT NULL
) WITHOUT ROWID;
PRAGMA user_version = {VERSION};
"""
