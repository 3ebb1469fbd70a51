"""G15 bites when held-out rows were trained on, are not those of the split, or were asked too often."""

import multiprocessing
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from contract.errors import FlightlineError
from pipelines.building.artifacts import write_table
from pipelines.delivery.held_out import period, uses
from pipelines.evaluate import evaluate
from pipelines.gate import gate
from pipelines.machine.settings import Settings
from pipelines.train import train
from tests.gates.workshop import at_full_size
from training.gates.freshness import fresh, held_apart
from training.gates.policy import Fresh
from training.model import AT, ID, LABEL, LABEL_AT

LIMITS = Fresh(max_twins=0.0, warn_after=2, max_uses=3)
NOON = datetime(2013, 3, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def table(name: str, start: datetime, rows: int = 4) -> pl.DataFrame:
    """Rows an hour apart, whose labels arrive a minute later."""
    moments = [start + index * HOUR for index in range(rows)]
    return pl.DataFrame(
        {
            ID: [f"{name}/{index}" for index in range(rows)],
            AT: moments,
            LABEL: [0, 1] * (rows // 2),
            LABEL_AT: [moment + timedelta(minutes=1) for moment in moments],
            "x": [hash_of(name, index) for index in range(rows)],
        }
    )


def hash_of(name: str, index: int) -> float:
    """A number that no other row has."""
    return float(sum(map(ord, name)) * 100 + index)


PARTS = {
    "train": table("train", NOON - 20 * HOUR),
    "validation": table("validation", NOON - 10 * HOUR),
    "test": table("test", NOON),
}


def verdict(fit_until: datetime | None = NOON, limits: Fresh = LIMITS, **parts: pl.DataFrame):
    """The verdict on three tables, of which `parts` replaces some."""
    return held_apart({**PARTS, **parts}, fit_until, "a" * 64, "a" * 64, limits)


def first(name: str, **changes: object) -> pl.DataFrame:
    """A table whose first row is changed."""
    rows = PARTS[name]
    changed = rows.head(1).with_columns(
        pl.lit(value, rows.schema[column]).alias(column) for column, value in changes.items()
    )
    return pl.concat([changed, rows.tail(-1)])


@pytest.mark.unit
def test_parts_that_were_kept_apart_pass():
    """With a time or without."""
    assert verdict().verdict == "pass"
    assert verdict(None).verdict == "pass"


@pytest.mark.unit
@pytest.mark.parametrize(
    ("parts", "problem"),
    [
        ({"train": pl.concat([PARTS["train"], PARTS["test"].head(1)])}, "1 held-out rows are in train"),
        ({"validation": PARTS["test"]}, "4 held-out rows are in validation"),
        ({"test": pl.concat([PARTS["test"], PARTS["test"].head(1)])}, "1 ids of test come twice"),
        ({"test": PARTS["test"].clear()}, "there is no held-out row"),
        ({"train": first("train", **{LABEL_AT: NOON})}, "1 rows of train, or their labels, were known only"),
        ({"train": first("train", **{LABEL_AT: None})}, "1 rows of train, or their labels, were known only"),
        ({"validation": first("validation", **{AT: NOON})}, "1 rows of validation, or their labels"),
        ({"test": first("test", **{AT: NOON - HOUR})}, "1 held-out rows begin before"),
        ({"test": first("test", **{AT: None})}, "1 held-out rows begin before"),
        (
            {"train": first("train", x=hash_of("test", 0), **{LABEL: 0})},
            "1 held-out rows have a twin among the fitted, over 0.0%",
        ),
    ],
)
def test_each_way_not_to_be_held_out_is_named(parts, problem):
    """Ids, moments, labels that arrived late, copies under another id."""
    found = verdict(**parts)
    assert found.verdict == "fail"
    assert problem in found.reason


@pytest.mark.unit
def test_rows_without_a_time_overlap_by_id_and_content_only():
    """All flowers were published at one moment."""
    late = {"train": first("train", **{LABEL_AT: NOON})}
    assert verdict(None, **late).verdict == "pass"
    assert verdict(None, validation=PARTS["test"]).verdict == "fail"


@pytest.mark.unit
def test_missing_values_are_equal_in_twins():
    """A copy with a new id hides behind no null; another label makes another row."""
    holes = {name: rows.with_columns(pl.lit(None, pl.Float64).alias("x")) for name, rows in PARTS.items()}
    assert "twin" in verdict(**holes).reason
    allowed = Fresh(max_twins=0.5, warn_after=1, max_uses=1)
    one = {"train": first("train", x=hash_of("test", 0), **{LABEL: 0})}
    assert verdict(limits=allowed, **one).verdict == "pass"
    assert verdict(train=first("train", x=hash_of("test", 0), **{LABEL: 1})).verdict == "pass"


@pytest.mark.unit
def test_another_table_than_the_pinned_one_fails():
    """Both halves compare hashes."""
    found = held_apart(PARTS, NOON, "a" * 64, "b" * 64, LIMITS)
    assert found.verdict == "fail"
    assert "the held-out table was aaaaaaaaaaaa when split, is bbbbbbbbbbbb" in found.reason
    assert fresh(1, "a" * 64, "b" * 64, LIMITS).verdict == "fail"


@pytest.mark.unit
@pytest.mark.parametrize(
    ("count", "outcome", "word"),
    [
        (1, "pass", "model 1 that is judged"),
        (2, "pass", "model 2 that is judged"),
        (3, "pass", "warning: worn out after 3"),
        (4, "fail", "worn out: 4 models were chosen between on these rows, over 3"),
    ],
)
def test_the_count_warns_before_it_fails(count, outcome, word):
    """A threshold is the last value that is allowed."""
    found = fresh(count, "a", "a", LIMITS)
    assert (found.verdict, found.code) == (outcome, "G15")
    assert word in found.reason


@pytest.fixture
def settings(tmp_path) -> Settings:
    """A world where nothing was judged yet."""
    return Settings.from_environment({"FLIGHTLINE_VAR": str(tmp_path / "var")})


@pytest.mark.unit
def test_a_use_counts_once_a_bundle_and_a_period(settings):
    """Asking again says nothing new; another bundle does; another period or model starts anew."""
    assert [uses(settings, "toy", "p", digest) for digest in ("a", "b", "a", "c", "b")] == [1, 2, 1, 3, 2]
    assert uses(settings, "toy", "q", "c") == 1
    assert uses(settings, "other", "p", "c") == 1
    assert len(settings.held_out("toy").read_bytes().splitlines()) == 4


@pytest.mark.unit
def test_the_period_is_its_rows_and_labels_whatever_their_features():
    """Adding a feature does not make rows that were never asked; another label or row does."""
    test = PARTS["test"]
    same = [test.with_columns(y=1.0), test.reverse(), test.drop("x")]
    other = [test.head(3), first("test", **{LABEL: 1}), first("test", **{ID: "else"})]
    assert {period(rows) for rows in (test, *same)} == {period(test)}
    assert len({period(rows) for rows in (test, *other)}) == 4


@pytest.mark.unit
@pytest.mark.parametrize("torn", [b'{"at":"2013', b"\xff\n", b'{"at":"","period":"p"}\n'])
def test_a_count_that_cannot_be_read_is_refused(settings, torn):
    """Starting from nothing again would be the cheapest way round the gate."""
    uses(settings, "toy", "p", "a")
    path = settings.held_out("toy")
    path.write_bytes(path.read_bytes() + torn)
    with pytest.raises(FlightlineError, match=r"line 2.*nobody knows how often"):
        uses(settings, "toy", "p", "b")


def _use(var: str, digest: str) -> None:
    uses(Settings.from_environment({"FLIGHTLINE_VAR": var}), "toy", "p", digest)


def test_two_at_once_both_count(settings):
    """The file is locked from reading to writing."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        pool.starmap(_use, [(str(settings.var), str(index)) for index in range(20)])
    assert uses(settings, "toy", "p", "last") == 21


def test_held_out_rows_that_were_trained_on_are_stopped(workshop):
    """The model knows its exam by heart, and every other gate is the happier for it."""
    rows = workshop.part("train")
    workshop.replace_part("train", rows.vstack(workshop.part("test").select(rows.columns)))
    workshop.change("params.yaml", "train.max_iter", 60)
    workshop.rebuild(train)
    assert workshop.failed() == {"G15"}
    workshop.must_stop("G15")


@at_full_size
def test_one_row_copied_under_another_id_is_stopped(workshop):
    """Its id says that it is new, its moment and everything else that it is not."""
    rows = workshop.part("train")
    copy = workshop.part("test").select(rows.columns).head(1).with_columns(pl.lit("a new flight").alias(ID))
    workshop.replace_part("train", rows.vstack(copy))
    workshop.rebuild(gate)
    assert workshop.failed() == {"G15"}
    assert "1 held-out rows have a twin" in workshop.verdicts()["G15"].reason
    assert "1 rows of train, or their labels, were known only after" in workshop.verdicts()["G15"].reason
    workshop.must_stop("G15")


def test_an_exam_that_was_made_easier_is_stopped(workshop):
    """The stormiest fifth of the held-out rows is taken away after the split."""
    test = workshop.part("test")
    easy = test.filter(pl.col("origin_delay_2h").fill_null(0) < test["origin_delay_2h"].quantile(0.8))
    write_table(workshop.artifacts.split / "test.parquet", easy)
    workshop.rebuild(evaluate)
    assert "the held-out table was" in workshop.verdicts()["G15"].reason
    workshop.must_stop("G15")


def test_an_exam_that_was_changed_after_the_bundle_was_made_is_stopped(workshop):
    """The evidence in the bundle is fine; the comparison with the champion would be on other rows."""
    write_table(workshop.artifacts.split / "test.parquet", workshop.part("test").head(-1))
    assert workshop.failed() == set()
    workshop.must_stop("G15")


def test_a_period_that_was_asked_too_often_is_stopped(workshop):
    """First a warning with exit 0, then a refusal; what was judged in time stays judged."""
    workshop.change("policy.yaml", "gates.G15.warn_after", 1)
    workshop.change("policy.yaml", "gates.G15.max_uses", 2)
    held_out = period(workshop.part("test"))
    uses(workshop.settings, "flights", held_out, "1" * 64)
    code, said = workshop.qualify()
    assert (code, "warning: worn out after 2 models" in said) == (0, True), said
    uses(workshop.settings, "flights", held_out, "3" * 64)
    assert workshop.qualify()[0] == 0
    workshop.change("policy.yaml", "gates.G15.max_uses", 1)
    workshop.must_stop("G15")
