"""What may be done to a desired state: load, unload, make default, split, mirror; and what that asks for."""

from collections.abc import Mapping

import msgspec

from contract.errors import FlightlineError
from contract.strict import near_miss
from serving.models.desired import Desired, DesiredModel, DesiredVersion

EMPTY = Desired(generation=0, default="", models={})


class NotThereError(FlightlineError):
    """There is no such version."""

    field = "version"


class NoModelError(NotThereError):
    """There is no such model."""

    field = "model"


class InUseError(FlightlineError):
    """What is asked for would take something away that is still needed, or exchange it unseen."""


def load(
    before: Desired, model: str, version: str, release: str, digest: str, *, older_contract: bool = False
) -> Desired:
    """Have `version` loaded beside the others: the first is the default, a later one answers nobody.

    Raises:
        InUseError: another bundle is loaded as that version.
        ConfigError: the version's name or the path cannot be used.
    """
    wanted = DesiredVersion(release=release, digest=digest)
    known = before.models.get(model)
    if known is None:
        return _with(before, model, DesiredModel(default=version, versions={version: wanted}))
    loaded = known.versions.get(version)
    if loaded is not None and loaded != wanted:
        raise InUseError(
            f"version {version} of {model} is the bundle {loaded.digest[:12]} of {loaded.release}",
            "another name for another bundle",
            "Unload it first, or load the new one under a name of its own",
        )
    versions = {**known.versions, version: wanted}
    return _with(before, model, _changed(known, versions=versions, older_contract=older_contract))


def unload(before: Desired, model: str, version: str) -> Desired:
    """Let go of a version that answers nobody.

    Raises:
        NotThereError: it is not loaded.
        InUseError: it is the default, or in the split or the mirror.
    """
    known = _model(before, model)
    _version(model, known, version)
    if version in known.routed() or version in known.mirror:
        part = (
            "the default"
            if version == known.default
            else "in the split"
            if version in known.split
            else "mirrored to"
        )
        raise InUseError(
            f"version {version} of {model} is {part}",
            "a version that nobody needs",
            "Make another the default and take it out of split and mirror first",
        )
    versions = {name: wanted for name, wanted in known.versions.items() if name != version}
    split = {name: share for name, share in known.split.items() if name != version}
    return _with(before, model, _changed(known, versions=versions, split=split))


def make_default(before: Desired, model: str, version: str, *, older_contract: bool = False) -> Desired:
    """Have `version` answer all requests that name none: a split ends, and it is mirrored to no more.

    Raises:
        NotThereError: it is not loaded.
    """
    known = _model(before, model)
    _version(model, known, version)
    mirror = {name: share for name, share in known.mirror.items() if name != version}
    after = _changed(known, default=version, split={}, mirror=mirror, older_contract=older_contract)
    return _with(before, model, after)


def set_split(
    before: Desired, model: str, split: Mapping[str, float], *, older_contract: bool = False
) -> Desired:
    """Share the requests that name no version out, in percent; an empty split gives all to the default.

    Raises:
        NotThereError: there is no such model.
        ConfigError: a version is not loaded, or the shares do not sum to 100.
    """
    known = _model(before, model)
    return _with(before, model, _changed(known, split=dict(split), older_contract=older_contract))


def set_mirror(before: Desired, model: str, mirror: Mapping[str, float]) -> Desired:
    """Have versions answer a percentage of those requests a second time, unseen by callers.

    Raises:
        NotThereError: there is no such model.
        ConfigError: a version is not loaded or answers callers, or a share is no percentage.
    """
    known = _model(before, model)
    return _with(before, model, _changed(known, mirror=dict(mirror)))


def asked(before: Desired, after: Desired, model: str) -> frozenset[str]:
    """The versions of `model` that must be servable for the change from `before` to `after` to take effect.

    Those that it loads, or that it gives requests to that they did not have. With every change of who gets
    them the default as well: without it the model stays as it was. A version that is broken already and only
    stays desired is none of them.
    """
    then, now = before.models.get(model), after.models.get(model)
    if now is None:
        return frozenset()
    if then is None:
        return frozenset(now.versions)
    loaded = now.versions.items() - then.versions.items()
    given = {*_given(now.split, then.split), *_given(now.mirror, then.mirror)}
    taken = {*_given(then.split, now.split), *_given(then.mirror, now.mirror)}
    default = {now.default} if given or taken or now.default != then.default else set()
    return frozenset({version for version, _ in loaded} | given | default)


def _given(now: Mapping[str, float], then: Mapping[str, float]) -> set[str]:
    """Who has a share that is another than it was."""
    return {version for version, share in now.items() if share > 0 and then.get(version) != share}


def _with(before: Desired, name: str, model: DesiredModel) -> Desired:
    return Desired(
        generation=before.generation,
        default=before.default or name,
        models={**before.models, name: model},
    )


def _changed(model: DesiredModel, **changes: object) -> DesiredModel:
    return msgspec.structs.replace(model, **{"older_contract": False, **changes})


def _model(before: Desired, name: str) -> DesiredModel:
    if name not in before.models:
        raise NoModelError(
            f"there is no model '{name}'{near_miss(name, sorted(before.models))}",
            f"one of {', '.join(sorted(before.models)) or 'none'}",
            "Correct the name, or load a version of it",
        )
    return before.models[name]


def _version(model: str, known: DesiredModel, version: str) -> None:
    if version not in known.versions:
        raise NotThereError(
            f"there is no version '{version}' of {model}{near_miss(version, sorted(known.versions))}",
            f"one of {', '.join(sorted(known.versions))}",
            "Correct the name, or load it",
        )
