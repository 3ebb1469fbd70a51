"""What the ledger says about ways back: where a model may go to, what it left, and what was refused."""

from collections.abc import Sequence

from pipelines.ledger import Entry, Placed, history


def neighbours(entries: Sequence[Entry], environment: str, model: str) -> tuple[Placed | None, Placed | None]:
    """The version to roll back to, and the one to go forward to again, as in an editor's undo and redo."""
    past, position = trail(entries, environment, model)
    back = past[position - 1] if position > 0 else None
    forward = past[position + 1] if 0 <= position < len(past) - 1 else None
    return back, forward


def trail(entries: Sequence[Entry], environment: str, model: str) -> tuple[list[Placed], int]:
    """The versions to go back or forward to, oldest first, and the place of the live one; -1: none is."""
    past: list[Placed] = []
    position = -1
    for entry in history(entries, environment, model):
        if entry.action == "rollback":
            position -= 1
        elif entry.action == "forward":
            position += 1
        else:
            past = [*past[: position + 1], entry.after]
            position += 1
    return past, position


def left_behind(entries: Sequence[Entry], environment: str, model: str) -> dict[str, Entry]:
    """The versions rolled back (or forward) from since the last deployment, each with the last such line.

    An alias that still names one of them is older than the rollback.
    """
    found: dict[str, Entry] = {}
    past = history(entries, environment, model)
    for entry in reversed(past):
        if entry.action == "deploy":
            break
        if entry.before is not None:
            found.setdefault(entry.before.version, entry)
    if past:
        found.pop(past[-1].after.version, None)
    return found


def refusal(entries: Sequence[Entry], environment: str, model: str, digest: str) -> Entry | None:
    """The line that says why a bundle was tried and did not stay; None if it was not, or ran since then."""
    about = (environment, model, digest)
    of_it = [entry for entry in entries if (entry.environment, entry.model, entry.after.digest) == about]
    return of_it[-1] if of_it and of_it[-1].action == "refused" else None
