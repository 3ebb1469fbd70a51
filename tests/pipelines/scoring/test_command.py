"""`python -m pipelines.score`: which version answers, what is said, and how it ends."""

import json
from datetime import UTC, datetime

import polars as pl
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contract.errors import FlightlineError
from pipelines import ledger, score
from pipelines.machine.settings import Settings
from pipelines.scoring.choosing import choose
from serving.scores import Scores
from tests.conftest import make_release
from tests.pipelines.scoring.conftest import rows
from tests.serving.http.bad_inputs.world import shop_contract


def live(var, version, release):
    """Have the ledger call it live in production."""
    release.path.rename(var / "releases" / release.digest)
    entry = ledger.Entry(
        at=datetime.now(UTC),
        environment="production",
        model="iris",
        action="deploy",
        before=None,
        after=ledger.Placed(version, release.digest),
        who="a test",
        why="it needs one",
        evidence="",
    )
    ledger.append(var / "ledger.jsonl", entry)


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A machine on which version 3 of a model is live in production, and a table for it."""
    var = tmp_path / "var"
    release = make_release(tmp_path / "made" / "0", model="iris")
    (var / "releases").mkdir(parents=True)
    (var / "keys").mkdir()
    (var / "keys" / "trust.json").write_bytes(release.trust_file.read_bytes())
    (tmp_path / "key").write_bytes(release.key.private_bytes_raw())
    live(var, "3", release)
    monkeypatch.setenv("FLIGHTLINE_VAR", str(var))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    rows(100).write_parquet(tmp_path / "in.parquet")
    return tmp_path


def run(world, *more):
    """Score the table."""
    return score.main(
        ["iris", "--input", str(world / "in.parquet"), "--output", str(world / "out"), "--id", "id", *more]
    )


def test_what_the_ledger_calls_live_scores(world, capsys):
    """Its version and digest are in the answer for a program, beside the counts."""
    assert run(world, "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["version"] == "3"
    assert [item["scored"] for item in told["files"]] == [100]
    assert pl.read_parquet(world / "out" / "in.parquet").height == 100


def test_who_scores_again_and_again_need_not_know_the_version(world, capsys):
    """Each version has a folder of its own, in which a file is scored once; without, another is refused."""
    key = Ed25519PrivateKey.from_private_bytes((world / "key").read_bytes())
    again = ("--by-version", "--publish", "production", "--rejects", str(world / "rejects"))
    assert [run(world, *again), run(world, *again)] == [0, 0]
    assert "as before" in capsys.readouterr().out
    live(world / "var", "4", make_release(world / "made" / "1", model="iris", seed=2, key=key))
    assert run(world, *again) == 0
    said = capsys.readouterr().out
    assert "iris version 4" in said
    assert "as before" not in said
    assert len(list((world / "out").glob("*/in.parquet"))) == 2
    with pytest.raises(FlightlineError, match="holds answers of iris version 3"):
        run(world)


def test_a_release_may_be_named_by_its_path(world):
    """It is held to the same trust."""
    settings = Settings.from_environment()
    (path,) = settings.releases.iterdir()
    assert choose("iris", settings, release=path).version == "local"
    stranger = make_release(world / "stranger" / "0", model="iris")
    with pytest.raises(FlightlineError, match="trust"):
        choose("iris", settings, release=stranger.path)


@pytest.mark.usefixtures("world")
def test_a_release_of_another_model_is_refused():
    """Its name is in the sentence."""
    settings = Settings.from_environment()
    (path,) = settings.releases.iterdir()
    with pytest.raises(FlightlineError, match="holds a release of 'iris'; expected one of 'flights'"):
        choose("flights", settings, release=path)


def test_a_tampered_release_does_not_score(world):
    """As it would not be served."""
    settings = Settings.from_environment()
    (path,) = settings.releases.iterdir()
    with (path / "bundle" / "model.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(FlightlineError, match=r"changed model\.onnx"):
        run(world)
    assert not (world / "out").exists()


def test_nothing_live_is_a_sentence(world):
    """It says what to do."""
    with pytest.raises(FlightlineError, match="no iris runs in staging"):
        run(world, "--environment", "staging")


def test_published_answers_are_where_the_service_of_that_environment_looks(world, capsys):
    """Its folder is what its service is told."""
    from pipelines.delivery.services import program

    assert run(world, "--publish", "production", "--fresh-hours", "24") == 0
    assert "100 entities can be looked up in production" in capsys.readouterr().out
    settings = Settings.from_environment()
    folder = settings.scores("production")
    assert program("production", settings).env["FLIGHTLINE_SCORES"] == str(folder)
    store = Scores(folder)
    assert store.find("iris", "flight/7").version == "3"
    store.close()


def test_a_refused_file_ends_the_command_with_a_sentence_and_publishes_nothing(world, capsys):
    """Half a table would look like all there is."""
    rows(10).with_columns(pl.lit(99.0).alias("width")).write_parquet(world / "in.parquet")
    with pytest.raises(FlightlineError, match=r"1 of 1 files was refused: in\.parquet, row 0: width is 99"):
        run(world, "--publish", "production")
    assert "refused" in capsys.readouterr().out
    assert not Settings.from_environment().scores("production").exists()
    assert run(world, "--publish", "production", "--rejects", str(world / "bad")) == 0


def test_a_table_without_a_stored_feature_is_refused_and_nothing_is_written(world):
    """Without the column every row would be answered as if nothing were known, unlike by the service."""
    release = make_release(world / "shop" / "0", contract=shop_contract("iris"))
    (world / "var" / "keys" / "trust.json").write_bytes(release.trust_file.read_bytes())
    aside = ["--release", str(release.path), "--rejects", str(world / "bad")]
    rows(9).drop("height").write_parquet(world / "in.parquet")
    with pytest.raises(FlightlineError, match=r"in\.parquet has no column 'height'; scoring looks up"):
        run(world, *aside)
    assert not [*(world / "out").rglob("*.parquet"), *(world / "bad").rglob("*.parquet")]
    rows(9).with_columns(pl.lit(None).alias("height")).write_parquet(world / "in.parquet")
    assert run(world, *aside) == 0


@pytest.mark.parametrize(
    "words",
    [
        ["--threads", "0"],
        ["--fresh-hours", "nan"],
        ["--fresh-hours", "soon"],
        ["--version", "1", "--release", "x"],
    ],
)
def test_a_wrong_option_is_refused_at_once(world, words):
    """Before anything is read."""
    with pytest.raises(SystemExit) as ended:
        run(world, *words)
    assert ended.value.code == 2


def test_help_has_an_example(capsys):
    """As every command has."""
    with pytest.raises(SystemExit):
        score.main(["--help"])
    assert "example: python -m pipelines.score flights" in capsys.readouterr().out
