"""The desired state that a deployment makes of the one before."""

from collections.abc import Collection, Mapping

from serving.models.desired import Desired, DesiredModel


def next_state(
    before: Desired | None, wanted: Mapping[str, DesiredModel], exact: Collection[str] = ()
) -> Desired:
    """The next generation, with the models of `wanted` alone.

    A model whose champion stays keeps its other versions, its split and its mirror, unless it is one of
    `exact`. The default model stays while it is there.
    """
    known = before.models if before else {}
    models = {
        name: known[name]
        if name in known and name not in exact and champion(known[name]) == champion(model)
        else model
        for name, model in wanted.items()
    }
    kept = before.default if before else ""
    default = kept if kept in wanted else next(iter(sorted(wanted)), "")
    return Desired(generation=(before.generation if before else 0) + 1, default=default, models=models)


def champions(models: Mapping[str, DesiredModel]) -> dict[str, tuple[str, str, str]]:
    """Version, release and digest of each model's default version: what a deployment decides."""
    return {name: champion(model) for name, model in models.items()}


def champion(model: DesiredModel) -> tuple[str, str, str]:
    """Version, release and digest of a model's default version."""
    return model.default, model.champion.release, model.champion.digest
