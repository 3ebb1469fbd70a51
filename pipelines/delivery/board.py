"""The status as a person reads it: coloured in a terminal, plain text elsewhere."""

from collections.abc import Mapping, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipelines.delivery.standing import MISSING, PASSED, UNKNOWN, Evidence, Row, Status
from pipelines.local import RELAY
from pipelines.promotion.carriers import ELSEWHERE, RUNNING, STOPPED, Carrier, Webhook
from serving.models.desired import ALL

SHORT = 12  # characters of a digest
GOOD, DOUBTFUL, BAD, FAINT = "green", "yellow", "red", "dim"
SERVICE = {"serving": GOOD, "stopped": BAD, "differs": BAD}
EVIDENCE = {PASSED: GOOD, MISSING: FAINT, UNKNOWN: DOUBTFUL}
# Seconds, and what so many are called; the largest that fits twice is taken.
UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"), (1, "s"))


def board(found: Status) -> RenderableType:
    """Everything on one screen, eighty columns wide."""
    reached = found.mlflow.startswith("http")
    parts: list[RenderableType] = [Text.assemble("mlflow  ", (found.mlflow, GOOD if reached else BAD))]
    if found.ledger:
        parts.append(Text.assemble("ledger  ", (found.ledger, BAD)))
    for name, carrier in found.carriers.items():
        parts.append(_carrier(name, carrier, _webhook(found.webhook) if name == RELAY else ""))
    for name, state in found.services.items():
        colour = SERVICE.get(state, DOUBTFUL)
        parts.append(
            Text.assemble("\n", (name, "bold"), "  ", (state, colour), "  ", (found.urls[name], FAINT))
        )
        rows = [row for row in found.rows if row.environment == name]
        none = "no model is to be served" if found.ledger else "no model was deployed"
        parts.append(_models(rows, doubted=bool(found.ledger)) if rows else Text(f"  {none}", FAINT))
    return Group(*parts)


def _carrier(name: str, found: Carrier, more: str = "") -> Text:
    """What carries out a click, and how it fares."""
    colour = {RUNNING: GOOD, ELSEWHERE: FAINT, STOPPED: BAD}.get(found.state, DOUBTFUL)
    text = Text.assemble(f"{name}  ", (found.state, colour))
    if found.detail:
        text.append(f", {found.detail}", DOUBTFUL if found.trouble else FAINT)
    return text.append(more, FAINT)


def _webhook(found: Webhook | None) -> str:
    if found is None:
        return "; no webhook came yet"
    to = f"to version {found.version}" if found.version else "taken away"
    done = "" if found.done else ", not carried out yet"
    return f"; last webhook {age(found.age_s)} ago: '{found.alias}' of {found.model} {to}{done}"


def _models(rows: Sequence[Row], *, doubted: bool) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for row in rows:
        runs = Text("not known, as the ledger is not believed", DOUBTFUL) if doubted else _version(row)
        table.add_row("  " + row.model, "runs", runs)
        if row.alias_unknown or row.awaited:
            table.add_row("", "alias", Text(_alias(row), DOUBTFUL))
        if traffic(row):
            table.add_row("", "traffic", traffic(row))
        if row.version:
            table.add_row("", "staging", _evidence(row.evidence))
            table.add_row("", "changed", _change(row))
        if row.tried is not None:
            when = row.tried.at[:16].replace("T", " ")
            words = f"version {row.tried.version}, tried by {row.tried.who}, {when}Z: {row.tried.why}"
            table.add_row("", "refused", Text(words, BAD))
    return table


def _alias(row: Row) -> str:
    """What is not known of it, and where it is to go."""
    waits = f"is to be moved to version {row.awaited} once MLflow answers" if row.awaited else ""
    return "; ".join(part for part in (row.alias_unknown, waits) if part)


def age(seconds: float | None) -> str:
    """About how long, in the largest unit of which there are at least two."""
    if seconds is None:
        return ""
    for size, name in UNITS:
        if seconds >= 2 * size or size == 1:
            return f"{seconds / size:.0f} {name}"
    raise AssertionError("the last unit takes everything")


def traffic(row: Row) -> str:
    """Who answers how much, and who is asked beside them unseen."""
    parts = [_shares("", row.split), _shares("mirror ", row.mirror)]
    idle = [version for version in row.loaded if not {version} & {*row.split, *row.mirror}]
    if idle:
        parts.append(f"loaded: {', '.join(idle)}")
    return "; ".join(part for part in parts if part)


def _shares(lead: str, shares: Mapping[str, float]) -> str:
    if set(shares.values()) == {ALL} and not lead:
        return f"all to {next(iter(shares))}"
    given = ", ".join(f"{share:g} % to {version}" for version, share in sorted(shares.items()) if share)
    return lead + given if given else ""


def _version(row: Row) -> Text:
    text = Text("never ran here")
    if row.version:
        text = Text.assemble(
            (f"version {row.version}", "bold"), f" ({row.digest[:SHORT]}) for {age(row.age_s)}"
        )
    if row.disagrees:
        text.append(f"; the alias names version {row.alias}", BAD)
        if row.refused:
            text.append(f", which was refused: {row.refused}", BAD)
    return text


def _evidence(found: Evidence) -> Text:
    words = "no evidence" if found.state == MISSING else found.state
    if found.state == PASSED:
        words = f"{len(found.checks)} checks passed, {found.tested_at[:16].replace('T', ' ')}Z"
    elif found.reason:
        words = f"{found.state}: {found.reason}"
    text = Text(words, EVIDENCE.get(found.state, BAD))
    load = found.measured.get("load", {})
    if "requests_per_second" in load:
        text.append(f"; {load['requests_per_second']:,.0f} requests/s, p99 {load['p99_ms']:.1f} ms", FAINT)
    compared = found.measured.get("pipeline verification", {}).get("rows")
    if compared:
        text.append(f"; {compared:,.0f} rows as in batch", FAINT)
    return text


def _change(row: Row) -> Text:
    if row.change is None:
        return Text("never")
    text = Text(f"{row.change.action} by {row.change.who}, {row.since}")
    text.append(f": {row.change.why}", FAINT)
    return text
