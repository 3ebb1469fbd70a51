"""What a process that runs for days says: lines of a log that may lie on a full disk."""

from pipelines.cli import NO_ROOM


def note(line: str) -> None:
    """Print `line` at once, for whoever reads the log meanwhile; a full disk costs lines and no process.

    Raises:
        OSError: it is something else, such as that nobody reads any more.
    """
    try:
        print(line, flush=True)
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
