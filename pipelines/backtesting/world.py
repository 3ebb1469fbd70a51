"""A world of the past in a folder of its own: the real monitor and the real qualification look at it.

What delivery and serving would have left there is written as they write it: signed releases, the ledger, the
prediction log, labels by month of arrival, and what became of each retraining.
"""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from contract.attestation import sign
from contract.bundle import Bundle
from contract.errors import FlightlineError
from contract.predictions import ANSWER, FEATURE_PREFIX, SCORE_PREFIX, log_schema
from contract.schema import Contract
from contract.statements import ManifestStatement, Provenance
from monitoring.decision import Attempt
from pipelines import ledger
from pipelines.backtesting.trainings import Data, Trained
from pipelines.building import attempts
from pipelines.building.artifacts import write_table
from pipelines.building.runs import candidate
from pipelines.cli import quiet
from pipelines.delivery.champion import PRODUCTION, champion
from pipelines.delivery.keys import ensure_keys, private_key
from pipelines.machine.settings import Settings
from pipelines.monitor import Monitored, monitor
from pipelines.qualify import Qualified, qualify
from pipelines.register import accepted
from pipelines.replay import file_labels
from pipelines.track import lineage, require_bundle
from training import model as models
from training.export import run
from training.model import AT, ID

WHO = "backtest"


def month_of(name: str, like: datetime) -> tuple[datetime, datetime]:
    """First moment of the month `YYYY-MM`, and of the next one, in the time zone of `like`."""
    first = datetime.strptime(name, "%Y-%m").replace(tzinfo=like.tzinfo)
    return first, (first + timedelta(days=32)).replace(day=1)


def rows_of(data: Data, trained: Trained, month: str) -> pl.DataFrame:
    """The examples to be answered in `month`, labelled or not."""
    start, end = month_of(month, trained.as_of)
    return data.examples.filter((pl.col(AT) >= start) & (pl.col(AT) < end))


def answer(trained: Trained, contract: Contract, rows: pl.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Label and scores of `rows` by a training that could have existed when the first of them was asked.

    Raises:
        FlightlineError: there is no row, or one was asked before the training was made or had learnt all it
            knows: a model answers only for rows after everything it was fitted on.
    """
    if rows.is_empty():
        raise FlightlineError("there is no row to answer", "a month that the data cover", "Lower --runs")
    first = rows[AT].sort()[0]
    known = max(filter(None, (trained.as_of, trained.learnt_until)))
    if first < known:
        raise FlightlineError(
            f"the training {trained.name} knows what came until {known}, and the first row is of {first}",
            "a model that answers only for rows after everything it was fitted on",
            "Correct the strategy: it peeks",
        )
    return run(trained.graph, contract, rows)


class World:
    """The world in which one model is retrained on decision."""

    def __init__(self, name: str, data: Data, trained: Mapping[str, Trained], folder: Path) -> None:
        """Begin one in `folder` where nothing has ever been live; `trained` are the trainings by name."""
        self._name, self._data, self._trained = name, data, trained
        self._contract = models.load(name).contract
        # The clone it is run from stays: a retraining is told from another by the commit it is made from.
        self.settings = replace(
            Settings.from_environment(), var=folder.absolute(), owns_tracking=True, actor=WHO
        )

    def challenge(self, training: str) -> Qualified:
        """Qualify the training against the champion; where it is accepted, it is the champion from now on.

        Raises:
            FlightlineError: it is not accepted though there is no champion.
        """
        trained = self._trained[training]
        cold = champion(self._name, self.settings) is None
        found = qualify(self._name, self.settings, trained.folder / "artifacts", quiet)
        if found.outcome == "accepted":
            self._crown(trained)
        elif cold:
            raise FlightlineError(
                f"the training as of {training} is '{found.outcome}' ({'; '.join(found.reasons)})",
                "a first champion",
                "Let it start with a training that passes its gates",
            )
        if not cold:
            key = candidate(self._name, trained.as_of, self.settings)
            ended = Attempt(trained.as_of, key, attempts.OUTCOMES[found.outcome])
            attempts.add(self._name, ended, self.settings)
        return found

    def serve(self, training: str, month: str) -> None:
        """Write what the champion's service would have logged in `month`, and the labels that followed."""
        trained = self._trained[training]
        rows = rows_of(self._data, trained, month)
        label, scores = answer(trained, self._contract, rows)
        digest = require_bundle(self._name, trained.folder / "artifacts").digest
        log = self._log(rows, label, scores, version=training, digest=digest)
        folder = self.settings.predictions(PRODUCTION) / self._name
        write_table(folder / f"{month}.parquet", log)
        file_labels(self._name, rows, self._contract, self.settings)

    def check(self, month: str) -> Monitored:
        """Watch the champion as of the first moment of `month`, and decide."""
        as_of, _ = month_of(month, next(iter(self._trained.values())).as_of)
        return monitor(self._name, self.settings, as_of, PRODUCTION, say=quiet)

    def _log(
        self, rows: pl.DataFrame, label: np.ndarray, scores: np.ndarray, *, version: str, digest: str
    ) -> pl.DataFrame:
        contract = self._contract
        written: dict[str, Any] = {
            "request_id": rows[ID],
            "entity_id": rows[ID],
            "model": pl.lit(contract.model),
            "version": pl.lit(version),
            "digest": pl.lit(digest),
            "role": pl.lit(ANSWER),
            "received_at": rows[AT],
            "event_time": rows[AT],
            "latency_ms": pl.lit(None),  # nobody waited
            "keys": pl.lit(None),
            "filled": pl.lit([], dtype=pl.List(pl.String)),  # every feature is in the table
            "label": pl.Series([contract.classes[index] for index in label], dtype=pl.String),
            **{FEATURE_PREFIX + item.name: rows[item.name] for item in contract.features},
            **{SCORE_PREFIX + name: pl.Series(scores[:, k]) for k, name in enumerate(contract.classes)},
        }
        schema: Any = log_schema(contract)
        return rows.select(ID).with_columns(**written).drop(ID).cast(schema)

    def _crown(self, trained: Trained) -> None:
        """Make an accepted training the champion as delivery does: a signed release, a line in the ledger."""
        settings, bundle = self.settings, require_bundle(self._name, trained.folder / "artifacts")
        before = ledger.live(ledger.read(settings.ledger), PRODUCTION, self._name)
        self._release(bundle, trained)
        ledger.append(
            settings.ledger,
            ledger.Entry(
                at=trained.as_of,
                environment=PRODUCTION,
                model=self._name,
                action="deploy",
                before=before,
                after=ledger.Placed(trained.name, bundle.digest),
                who=WHO,
                why="it was accepted",
                evidence="",
            ),
        )

    def _release(self, bundle: Bundle, trained: Trained) -> None:
        settings = self.settings
        ensure_keys(settings.keys)
        key = private_key(settings.keys, "trainer")
        source = lineage(settings.checkout)
        statements = {
            "manifest": ManifestStatement(model=bundle.model, digest=bundle.digest),
            "qualification": accepted(bundle, settings),
            "provenance": Provenance(
                model=bundle.model,
                digest=bundle.digest,
                commit=source.commit,
                dirty=source.dirty,
                dvc_lock=source.dvc_lock,
                run_id=trained.name,
                registered_at=trained.as_of.isoformat(),
                registered_by=WHO,
            ),
        }
        release = settings.releases / bundle.digest
        shutil.copytree(bundle.path, release / "bundle", dirs_exist_ok=True)
        (release / "attestations").mkdir(exist_ok=True)
        for kind, statement in statements.items():
            (release / "attestations" / f"{kind}.json").write_bytes(sign(statement, kind, key))
