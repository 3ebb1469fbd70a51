"""A check reads what was delivered, remembers the checks before it, and ends with a code of its own."""

import json
import stat
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from types import SimpleNamespace

import msgspec
import polars as pl
import pytest

from contract.predictions import log_schema
from contract.strict import encode_json
from monitoring.drift import DriftResult
from monitoring.health import Health
from monitoring.performance import Performance
from monitoring.policy import MonitoringPolicy
from monitoring.statistics import window_statistics as described
from pipelines import monitor
from pipelines.building.config import policy
from pipelines.machine.settings import Settings
from pipelines.watching import readings
from tests.conftest import toy_contract as make_contract
from tests.monitoring.worlds import CONTRACT
from tests.monitoring.worlds import window as made
from tests.pipelines.stages.conftest import ROOT
from training.gates.verdict import Evidence

pytestmark = pytest.mark.unit

MAY = datetime(2013, 5, 1, tzinfo=UTC)
DIGEST = "d" * 64


@pytest.fixture
def settings(tmp_path) -> Settings:
    """A `var` in which nothing happened."""
    return Settings.from_environment({"FLIGHTLINE_VAR": str(tmp_path / "var")})


def checked(settings, day, drift, digest=DIGEST):
    """An earlier check of flights."""
    folder = settings.var / "monitoring" / "flights" / day
    folder.mkdir(parents=True)
    (folder / "check.json").write_text(json.dumps({"drift": f"{drift}: because", "digest": digest}))


@pytest.mark.parametrize(
    ("before", "count"),
    [
        ([], 0),
        ([("2013-04-30", "alarm")], 1),
        ([("2013-04-01", "alarm"), ("2013-04-30", "alarm")], 2),
        ([("2013-04-01", "alarm"), ("2013-04-15", "quiet"), ("2013-04-30", "alarm")], 1),
        ([("2013-04-01", "alarm"), ("2013-04-30", "insufficient")], 0),
        ([("2013-04-30", "alarm", "e" * 64)], 0),
        # The same day is this check run again, a later one has not happened yet.
        ([("2013-04-30", "alarm"), ("2013-05-01", "alarm"), ("2013-06-01", "quiet")], 1),
    ],
)
def test_alarms_in_a_row_are_counted_over_earlier_checks(settings, before, count):
    """Of other days and the same bundle, until one did not alarm."""
    for one in before:
        checked(settings, *one)
    assert readings.alarms_before("flights", DIGEST, settings, MAY) == count


@pytest.fixture
def alarming(settings, tmp_path, monkeypatch) -> Settings:
    """A champion whose every window alarms, under a policy that wants two alarms in a row."""
    shipped = policy("flights", "monitoring", MonitoringPolicy, ROOT / "policy.yaml")
    patient = msgspec.structs.replace(shipped.retrain, drift_windows=2, max_age_days=None)
    pl.DataFrame({"day": [MAY.date()]}).write_parquet(tmp_path / "reference.parquet")
    (tmp_path / "evidence.json").write_bytes(encode_json(Evidence((), {})))
    bundle = SimpleNamespace(
        path=tmp_path,
        digest=DIGEST,
        contract=None,
        environment=SimpleNamespace(as_of="2013-04-01T00:00:00+00:00"),
    )
    labels = pl.DataFrame(
        {"entity_id": [f"{n}" for n in range(3_000)], "label": "late", "arrived_at": MAY - timedelta(days=2)}
    )
    for name, stand_in in {
        "policy": lambda *_: msgspec.structs.replace(shipped, retrain=patient),
        "champion": lambda *_: bundle,
        "candidate": lambda *_: "candidate",
        "read_log": lambda *_: pl.DataFrame(),
        "read_labels": lambda *_: labels,
        "data_health": lambda *_: Health(0, ()),
        "drift_report": lambda *_: DriftResult("alarm", "much drifted"),
        "performance": lambda *_, **__: Performance("fine", "as before", 0, 0, 0.0, 0),
        "window_statistics": lambda *_: described(made(1, 4), CONTRACT),
    }.items():
        monkeypatch.setattr(monitor, name, stand_in)
    return settings


def test_the_second_alarm_in_a_row_retrains(alarming):
    """The first alone does not; the first again on the same day is still the first."""
    first = [monitor.monitor("flights", alarming, MAY, say=lambda _: None).action for _ in range(2)]
    second = monitor.monitor("flights", alarming, MAY + timedelta(days=1), say=lambda _: None)
    assert first == ["keep", "keep"]
    assert (second.action, second.reason) == ("retrain", "drift in 2 windows in a row: much drifted")


def test_a_check_is_filed_under_its_day_in_utc(alarming):
    """Half past midnight in Berlin is the evening before."""
    berlin = datetime(2013, 5, 1, 0, 30, tzinfo=timezone(timedelta(hours=2)))
    found = monitor.monitor("flights", alarming, berlin, say=lambda _: None)
    assert found.as_of == "2013-04-30T22:30:00+00:00"
    assert (alarming.var / "monitoring" / "flights" / "2013-04-30" / "check.json").is_file()


def test_a_check_says_and_keeps_what_the_window_looks_like(alarming):
    """Scores, inputs, latency, and the days since the data that the model learned from."""
    said: list[str] = []
    found = monitor.monitor("flights", alarming, MAY, say=said.append)
    kept = json.loads(Path(found.statistics).read_text())
    assert (kept["rows"], found.age_days) == (4, 30.0)
    assert any(line.startswith("  age          30 days") for line in said)
    assert {"score", "missing", "latency"} <= {line.split()[0] for line in said}


def test_the_page_may_be_read_by_others(alarming, monkeypatch):
    """A report is for people; what else a check writes stays its owner's."""
    alarmed = DriftResult("alarm", "much drifted", html="<p>")
    monkeypatch.setattr(monitor, "drift_report", lambda *_: alarmed)
    found = monitor.monitor("flights", alarming, MAY, say=lambda _: None)
    assert stat.S_IMODE(Path(found.report).stat().st_mode) == 0o644


def test_a_period_that_was_replayed_again_is_in_the_window_once(settings):
    """As last answered; another moment of the same entity, and what names none, is another prediction."""
    made = make_contract("toy")
    schema = log_schema(made)
    folder = settings.predictions("production") / "toy"
    folder.mkdir(parents=True)

    def logged(name, *facts):
        """A segment of rows (request, entity, day of April, hour of arrival)."""
        rows = [
            dict.fromkeys(schema)
            | {"request_id": request, "entity_id": entity, "digest": DIGEST}
            | {"event_time": MAY - timedelta(days=30 - day), "received_at": MAY + timedelta(hours=hour)}
            for request, entity, day, hour in facts
        ]
        pl.DataFrame(rows, schema=schema).write_parquet(folder / name)

    logged("1.parquet", ("r/0", "a", 1, 0), ("r/1", "b", 1, 0), ("r/2", None, 1, 0), ("r/3", None, 1, 0))
    logged("2.parquet", ("s/0", "a", 1, 1), ("s/1", "b", 2, 1))
    bundle = SimpleNamespace(contract=made, digest=DIGEST)
    window = readings.read_log("toy", bundle, settings, "production", MAY)
    assert sorted(window["request_id"]) == ["r/1", "r/2", "r/3", "s/0", "s/1"]


def labels(*facts):
    """Label rows (entity, label, day of May on which it arrived)."""
    return pl.DataFrame(
        [(entity, label, MAY + timedelta(days=day)) for entity, label, day in facts],
        schema=readings.NO_LABELS,
        orient="row",
    )


def test_a_label_that_two_replays_delivered_is_there_once(settings):
    """Overlapping replays file the same label in two files; a correction is another label."""
    folder = settings.labels("flights")
    folder.mkdir(parents=True)
    labels(("a", "late", 1), ("b", "late", 1)).write_parquet(folder / "2013-05.from-1.parquet")
    labels(("b", "late", 1), ("b", "on_time", 2)).write_parquet(folder / "2013-05.from-2.parquet")
    found = readings.read_labels("flights", settings).sort("entity_id", "arrived_at")
    assert found.select("entity_id", "label").rows() == [("a", "late"), ("b", "late"), ("b", "on_time")]


def test_new_labels_are_counted_by_entity():
    """A corrected label, one withdrawn, one too old and one of the future do not add up."""
    facts = (("a", "late", 1), ("a", "on_time", 2), ("b", None, 1), ("c", "late", 0), ("d", "late", 9))
    assert readings.count_new(labels(*facts), MAY, MAY + timedelta(days=5)) == 1


@pytest.mark.parametrize(
    ("metrics", "baseline"), [({"log_loss": 0.5}, 0.5), ({"log_loss": float("nan")}, None), ({}, None)]
)
def test_a_log_loss_that_was_not_measured_is_no_baseline(tmp_path, metrics, baseline):
    """NaN is null in the file, and nothing is worse than NaN."""
    (tmp_path / "evidence.json").write_bytes(encode_json(Evidence((), metrics)))
    assert monitor._baseline(SimpleNamespace(path=tmp_path)) == baseline


@pytest.mark.parametrize(
    ("action", "code"), [("quarantine", 11), ("insufficient", 0), ("wait", 0), ("keep", 0), ("retrain", 0)]
)
def test_bad_data_end_the_command_with_a_code_of_their_own(settings, monkeypatch, action, code):
    """Whoever runs it every day must notice; every other answer is one."""
    monkeypatch.setenv("FLIGHTLINE_VAR", str(settings.var))
    monkeypatch.setattr(
        monitor, "monitor", lambda model, *_, **__: monitor.Monitored(model, "2013-05-01", action, "because")
    )
    assert monitor.main(["flights"]) == code


def test_help_explains_the_exit_codes(capsys):
    """11 is quarantine."""
    with pytest.raises(SystemExit):
        monitor.main(["--help"])
    assert "11 where the data are too bad" in capsys.readouterr().out


def test_where_nothing_serves_there_is_nothing_to_watch(settings, monkeypatch, capsys):
    """Plainly said, and no failure."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(monitor, "champion", lambda *_: None)
    found = monitor.monitor("flights", settings, MAY)
    assert found.action == "insufficient"
    assert "insufficient: nothing to watch: no flights serves in production" in capsys.readouterr().out
