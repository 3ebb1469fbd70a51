"""A trained sample to break: the real stages in a folder of their own, and a champion that must stay."""

import contextlib
import hashlib
import io
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest
import yaml

from contract.attestation import sign
from contract.bundle import Bundle, open_bundle
from contract.errors import FlightlineError
from contract.statements import ManifestStatement, Provenance, Qualification
from contract.strict import decode_json
from pipelines import ledger, qualify
from pipelines.building.artifacts import Artifacts, read_json, sha256, write_json, write_table
from pipelines.building.config import policy
from pipelines.building.facts import PARTS, Facts
from pipelines.delivery.keys import ensure_keys, private_key
from pipelines.evaluate import evaluate
from pipelines.gate import gate
from pipelines.ingest import ingest
from pipelines.machine.settings import Settings
from pipelines.package import package
from pipelines.probe import again, probe
from pipelines.register import register
from pipelines.report import report
from pipelines.split import split
from pipelines.train import train
from pipelines.validate import validate
from training.gates.again import Again
from training.gates.policy import GatePolicy
from training.gates.verdict import Evidence, Verdict

ROOT = Path(__file__).parents[2]
MODEL = "flights"
STAGES = (ingest, validate, split, train, evaluate, probe, gate, report, package)
# What a person looks at is no gate's business: it is made once, and a mutation leaves it as it was.
FOR_PEOPLE = (report,)
# For one mutation of each gate: it is tried on the sample, and as a slow test on all flights.
at_full_size = pytest.mark.parametrize(
    "size", ["sample", pytest.param("full", marks=pytest.mark.slow)], indirect=True
)
# The smallest sample that the repository's own policy lets pass with room to spare.
SAMPLE = {
    "as_of": "2013-03-10T00:00:00Z",
    "split": {"kind": "time", "test_days": 7, "validation_days": 7},
    "ablate": {"rows": 1000},
    # For its size: in leaves as large as a quarter's flights want, small carriers could not be told apart.
    "train": {
        "learning_rate": 0.06,
        "max_leaf_nodes": 31,
        "min_samples_leaf": 60,
        "l2_regularization": 1.0,
        "max_iter": 400,
        "patience": 25,
    },
}


@dataclass(frozen=True)
class Workshop:
    """A folder with params.yaml, policy.yaml and the artifacts of one run, and where its effects would go."""

    folder: Path
    settings: Settings

    @property
    def artifacts(self) -> Artifacts:
        """The run's files."""
        return Artifacts.of(MODEL, self.folder / "artifacts")

    @property
    def bundle(self) -> Bundle:
        """The run's bundle, verified."""
        return open_bundle(self.artifacts.bundle)

    @property
    def limits(self) -> GatePolicy:
        """The model's gates in the run's policy.yaml."""
        return policy(MODEL, "gates", GatePolicy, self.folder / "policy.yaml")

    def rebuild(
        self,
        first: Callable[[str], str],
        last: Callable[[str], str] = package,
        *,
        probes: tuple[Callable[[str], str], ...] = (),
    ) -> None:
        """Run the real stages from `first` to `last`.

        Of the stage `probe`, which trains twice more, only the parts in `probes` run: a test names what it is
        about. In place of the others stands what they found in the healthy sample.
        """
        with contextlib.chdir(self.folder):
            for stage in STAGES[STAGES.index(first) : STAGES.index(last) + 1]:
                if stage in FOR_PEOPLE and Artifacts.of(MODEL).report.exists():
                    continue
                for part in (stage,) if stage is not probe else probes:
                    part(MODEL)
                if stage is probe and not {again, probe} & set(probes):
                    self._as_if_trained_again()

    def _as_if_trained_again(self) -> None:
        """Let a second training have given the graph that is there, as it did for the sample."""
        graph = hashlib.sha256((self.artifacts.model / "model.onnx").read_bytes()).hexdigest()
        write_json(self.artifacts.probes / "again.json", Again(graph, graph, 0.0))

    def change(self, file: str, path: str, value: Any) -> None:
        """Write `value` at the dotted `path` of the model's section of params.yaml or policy.yaml."""
        everything = yaml.safe_load((self.folder / file).read_text())
        place = everything[MODEL]
        *outer, key = path.split(".")
        for word in outer:
            place = place[word]
        place[key] = value
        (self.folder / file).write_text(yaml.safe_dump(everything))

    def part(self, name: str) -> pl.DataFrame:
        """One of the tables train, validation and test."""
        return pl.read_parquet(self.artifacts.split / f"{name}.parquet")

    def replace_part(self, name: str, rows: pl.DataFrame) -> None:
        """Put `rows` in the place of one of the three tables, as if the split had made it so."""
        write_table(self.artifacts.split / f"{name}.parquet", rows)
        paths = [self.artifacts.split / f"{part}.parquet" for part in PARTS]
        facts = read_json(self.artifacts.facts, Facts)
        pinned = msgspec.structs.replace(facts, data=sha256(*paths), held_out=sha256(paths[-1]))
        write_json(self.artifacts.facts, pinned)

    def verdicts(self) -> dict[str, Verdict]:
        """What the gate stage found, by code."""
        found = read_json(self.artifacts.evidence, Evidence).verdicts
        return {verdict.code: verdict for verdict in found}

    def failed(self) -> set[str]:
        """Codes of the gates that failed."""
        return {code for code, verdict in self.verdicts().items() if verdict.verdict == "fail"}

    def qualify(self) -> tuple[int, str]:
        """Exit code of the real command and the line it printed."""
        said = io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(said):
            code = qualify.main([MODEL])
        return code, said.getvalue()

    def qualification(self) -> Qualification:
        """What qualification wrote about the bundle."""
        path = self.settings.qualification(self.bundle.digest)
        return decode_json(path.read_bytes(), Qualification, path.name)

    def register(self) -> None:
        """Call the real registration; where MLflow should be, nothing listens."""
        with contextlib.chdir(self.folder):
            register(MODEL, self.settings, Path("artifacts"))

    def world(self) -> dict[str, str]:
        """Every file of the world outside the run (keys, releases, ledger …) with the hash of its bytes."""
        return {
            str(path.relative_to(self.settings.var)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in self.settings.var.rglob("*")
            if path.is_file()
        }

    def crown(self, bundle: Bundle) -> None:
        """Make `bundle` the champion as delivery does: a signed release, and a line in the ledger."""
        ensure_keys(self.settings.keys)
        key = private_key(self.settings.keys, "trainer")
        release = self.settings.releases / bundle.digest
        shutil.copytree(bundle.path, release / "bundle")
        about = {"model": MODEL, "digest": bundle.digest}
        statements = {
            "manifest": ManifestStatement(**about),
            "qualification": Qualification(
                **about,
                outcome="accepted",
                champion="",
                held_out=bundle.environment.held_out,
                reasons=(),
                verdicts=(),
            ),
            "provenance": Provenance(
                **about,
                commit="",
                dirty=False,
                dvc_lock="",
                run_id="1",
                registered_at="2013-03-10T00:00:00+00:00",
                registered_by="a test",
            ),
        }
        (release / "attestations").mkdir()
        for kind, statement in statements.items():
            (release / "attestations" / f"{kind}.json").write_bytes(sign(statement, kind, key))
        entry = ledger.Entry(
            at=datetime(2013, 3, 10, tzinfo=UTC),
            environment="production",
            model=MODEL,
            action="deploy",
            before=None,
            after=ledger.Placed("1", bundle.digest),
            who="a test",
            why="it is the first",
            evidence="",
        )
        ledger.append(self.settings.ledger, entry)

    def must_stop(self, code: str, *, exit_code: int = 1, outcome: str = "failed") -> None:
        """Qualify and register the broken bundle; both refuse because of gate `code`, nothing else changes.

        The qualification itself, which says why, and the count of the held-out rows' uses are the only files
        that may be added to the world.
        """
        before = self.world()
        found, said = self.qualify()
        assert found == exit_code, said
        assert code in said
        note = self.qualification()
        assert note.outcome == outcome
        assert any(reason.startswith(code) for reason in note.reasons)
        with pytest.raises(FlightlineError, match=rf"the qualification of .* is '{outcome}' .*{code}"):
            self.register()
        after = self.world()
        note_path = str(self.settings.qualification(self.bundle.digest).relative_to(self.settings.var))
        added = {note_path, *(path for path in after if path.startswith("held_out/"))}
        assert {**before, **{path: after[path] for path in added}} == after


def write_settings(folder: Path, changes: Mapping[str, Any]) -> None:
    """The repository's own params.yaml, with `changes` to the model's section, and its own policy.yaml.

    Of the policy only the least number of days is another, because the sample is small.
    """
    everything = yaml.safe_load((ROOT / "params.yaml").read_text())
    everything[MODEL].update(changes)
    (folder / "params.yaml").write_text(yaml.safe_dump(everything))
    limits = yaml.safe_load((ROOT / "policy.yaml").read_text())
    limits[MODEL]["gates"]["G05"]["min_blocks"] = 7  # the sample's test days
    (folder / "policy.yaml").write_text(yaml.safe_dump(limits))
