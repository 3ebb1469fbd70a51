"""What a person may do with aliases in MLflow: the deployer's own judgement, before anything moves."""

import unicodedata

from contract.errors import FlightlineError
from pipelines.delivery.qualifying import qualified
from pipelines.delivery.refusals import left
from pipelines.delivery.registry import CHALLENGER, STAGING, Registry
from pipelines.delivery.trail import left_behind, neighbours
from pipelines.ledger import live, read
from pipelines.machine.environments import PRODUCTION
from pipelines.machine.settings import Settings

COPY_SCHEME = "models:/"  # a source that is a registered version: models:/NAME/VERSION


def check_move(registry: Registry, model: str, alias: str, version: str, settings: Settings) -> None:
    """Whether `alias` of one of our models may be put on `version`.

    What is live may always be named: that is how a deployment ends and how a wrong alias is put back. So may
    the version before it, which has served: that is a rollback.

    Raises:
        FlightlineError: it may not.
    """
    champion = settings.environment(PRODUCTION).alias
    wrong = spelling(alias, settings)
    if wrong is not None:
        raise wrong
    if alias != champion:
        return
    entries = read(settings.ledger)
    placed = live(entries, PRODUCTION, model)
    back, _ = neighbours(entries, PRODUCTION, model)
    if version in {known.version for known in (placed, back) if known is not None}:
        return
    gone = left_behind(entries, PRODUCTION, model).get(version)
    if placed is not None and gone is not None:
        raise left(gone)
    qualified(registry, registry.by_number(model, version), settings)


def spelling(alias: str, settings: Settings) -> FlightlineError | None:
    """What is wrong with an alias that is another spelling of one that counts, else None.

    MLflow tells `Champion` from `champion`, a person hardly does, and nothing would be deployed.
    """
    meant = look_alike(alias, settings)
    if not meant:
        return None
    return FlightlineError(
        f"the alias '{alias}' is not '{meant}', and nothing acts on it",
        f"'{meant}', in exactly these letters",
        f"Use the alias '{meant}'",
    )


def look_alike(alias: str, settings: Settings) -> str:
    """The alias that counts of which `alias` is another spelling; empty for that one and for other words."""
    plain = unicodedata.normalize("NFKC", alias).casefold().strip()
    counted = {CHALLENGER, STAGING, settings.environment(PRODUCTION).alias}
    return plain if plain in counted and alias not in counted else ""


def check_removal(model: str, alias: str, settings: Settings) -> None:
    """Whether `alias` of one of our models may be taken away.

    Raises:
        FlightlineError: it says what production runs.
    """
    if alias == settings.environment(PRODUCTION).alias:
        raise FlightlineError(
            f"the alias '{alias}' says which version of {model} production runs, "
            "and taking it away would stop nothing",
            "it on some version",
            "Move it to the version that is to run instead",
        )


def copied(source: str) -> str:
    """The registered model of which `source` is a version; empty for what a run or a logger made."""
    if not source.startswith(COPY_SCHEME):
        return ""
    model, separator, _ = source.removeprefix(COPY_SCHEME).replace("@", "/").partition("/")
    return model if separator else ""  # models:/m-0123 is a logged model and no version


def check_copy(source: str, target: str, settings: Settings) -> None:
    """Whether a version may be made from `source` in the model `target`, which MLflow calls promoting it.

    Raises:
        FlightlineError: it is a copy of a version, and what was signed speaks of one version of one model.
    """
    if not copied(source):
        return
    alias = settings.environment(PRODUCTION).alias
    raise FlightlineError(
        f"copying {source.removeprefix(COPY_SCHEME).replace('/', ' version ')} to {target} promotes nothing: "
        "what was signed about a version does not speak of its copy",
        f"the alias '{alias}' on the version itself",
        f"Open the version's page and add '{alias}' to its aliases",
    )


def check_deletion(registry: Registry, model: str, version: str | None, settings: Settings) -> None:
    """Whether `version` (None: the whole model, or its name) may go.

    Raises:
        FlightlineError: production runs it, or is to run it.
    """
    placed = live(read(settings.ledger), PRODUCTION, model)
    alias = settings.environment(PRODUCTION).alias
    kept = {registry.aliases(model).get(alias), placed.version if placed else None} - {None}
    if kept if version is None else version in kept:
        numbers = " and ".join(sorted(str(number) for number in kept))
        raise FlightlineError(
            f"production runs version {numbers} of {model}, or is to run it",
            f"it to stay, under this name, while it is the {alias}",
            f"Move the alias '{alias}' to another version first",
        )
