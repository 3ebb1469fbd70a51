"""reproduce: build a registered version again from its lineage, and say whether it is the same.

The commit, params.yaml and policy.yaml that its run keeps are put into a worktree in which every stage runs;
nothing is taken from DVC's cache. Exit code: the same 0, different 1.
"""

import argparse
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from contract.bundle import open_bundle
from pipelines.cli import FAILED, OK, command, quiet
from pipelines.delivery.registry import BUNDLE, connect
from pipelines.machine.processes import Say
from pipelines.machine.settings import Settings
from pipelines.reproducing import compare
from pipelines.reproducing.origin import Origin, find, read
from pipelines.reproducing.rebuild import rebuild, remove, workplace

GRAPH = "model.onnx"


@dataclass(frozen=True)
class Reproduced:
    """A rebuild beside its original."""

    model: str
    version: str
    commit: str
    digest: tuple[str, str]  # the original's, the rebuild's
    files: dict[str, bool]  # file of the bundle -> the same bytes?
    metrics: dict[str, tuple[float | None, float | None]]  # those that differ: the original's, the rebuild's
    doubts: tuple[str, ...]  # what was known to be wrong with the lineage
    reasons: tuple[str, ...]  # why it is different, as far as can be seen
    folder: str  # where a rebuild that is different can be looked at

    @property
    def same(self) -> bool:
        """Every file of the bundle and every metric: equal digests are equal bundles."""
        return self.digest[0] == self.digest[1] and not self.metrics


def reproduce(name: str, settings: Settings, say: Say = print) -> Reproduced:
    """Build `MODEL@VERSION` or `MODEL@ALIAS` again.

    Raises:
        FlightlineError: MLflow does not answer, there is no such version, it does not verify, its commit is
            not in this clone, or the build fails.
    """
    registry = connect(settings)
    version = find(registry, name)
    with workplace(settings) as folder:
        origin = read(registry, version, settings, folder)
        say(
            f"{version.model}: building version {version.version} ({version.digest[:12]}) again "
            f"from commit {origin.provenance.commit[:12]}"
        )
        for doubt in origin.doubts:
            say(f"  warning: {doubt}")
        root = rebuild(origin, settings, say)
        found = _compared(origin, root)
        if found.same:
            remove(origin, settings)
    return found


def report(found: Reproduced) -> str:
    """What a person reads."""

    def word(same: bool) -> str:
        return "same" if same else "DIFFERENT"

    digests = " -> ".join(digest[:12] for digest in dict.fromkeys(found.digest))
    lines = [
        f"{found.model} version {found.version}, commit {found.commit[:12]}: {word(found.same)}",
        f"  {'ONNX bytes':20} {word(found.files[GRAPH])}",
        f"  {'metrics':20} {word(not found.metrics)}",
        *(f"    {name}: {was} -> {now}" for name, (was, now) in found.metrics.items()),
        f"  {'bundle digest':20} {word(found.digest[0] == found.digest[1])} ({digests})",
        *(f"    {name}: another file" for name, same in found.files.items() if not same),
    ]
    if not found.same:
        lines += ["  likely because", *(f"    {reason}" for reason in found.reasons)]
        lines.append(f"  the rebuild is in {found.folder}")
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> int:
    """Reproduce one version."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.reproduce",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m pipelines.reproduce flights@champion",
    )
    parser.add_argument("version", metavar="MODEL@VERSION", help="a number, or an alias such as champion")
    parser.add_argument("--json", action="store_true", help="for a program to read")
    options = parser.parse_args(argv)
    found = reproduce(options.version, Settings.from_environment(), quiet if options.json else print)
    print(json.dumps({**asdict(found), "same": found.same}) if options.json else report(found))
    return OK if found.same else FAILED


def _compared(origin: Origin, root: Path) -> Reproduced:
    model = origin.version.model
    built = root / "artifacts" / model
    bundle = open_bundle(built / BUNDLE)
    reasons = [
        *origin.doubts,
        *compare.libraries(origin.bundle.environment, bundle.environment),
        *compare.partings(origin.lineage / "dvc.lock", root / "dvc.lock", model),
    ]
    return Reproduced(
        model=model,
        version=origin.version.version,
        commit=origin.provenance.commit,
        digest=(origin.bundle.digest, bundle.digest),
        files=compare.files(origin.bundle, bundle),
        metrics=compare.metrics(origin.metrics, compare.read_metrics(built / "metrics.json")),
        doubts=origin.doubts,
        reasons=tuple(reasons) or ("nothing that the lineage or the versions of libraries show",),
        folder=str(root),
    )


if __name__ == "__main__":
    command(main)
