"""Long runs are encoded when they are answered, and logged as they came."""

import io
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import duckdb
import msgspec
import numpy as np
import polars as pl
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from contract.schema import Contract, Feature
from serving.recording import encoded
from serving.recording.answered import Matrices, Numbered
from serving.recording.columns import MOST_WORDS
from serving.recording.dictionaries import LONGEST, Dictionaries, Dictionary
from serving.recording.encoded import LEAST_ROWS, Encoded, encode_features, join
from serving.recording.encoder import MOST_VERSIONS
from serving.recording.log_settings import LogSettings
from serving.recording.prediction_log import PredictionLog
from serving.recording.slices import at_once
from serving.recording.tables import segment
from tests.serving.recording.runs import NOW, held, read, until

pytestmark = pytest.mark.unit

# What a column of letters may hold: few words, none, one that is new, too many, one that is too long.
LETTERS = {
    "few": lambda index: "AB"[index % 2],
    "some are missing": lambda index: ["A", "", "B", "", "é"][index % 5],
    "all are missing": lambda _: "",
    "the first alone is there": lambda index: "" if index else "B",
    "many": str,
    "too long": lambda index: "x" * (LONGEST + 1) if index == 7 else "A",
    "too long, and some are missing": lambda index: ["x" * (LONGEST + 1), ""][index % 2],
}
WIDTHS = {
    "none is missing": float,
    "some are missing": lambda index: np.nan if index % 3 else -0.0,
    "all are missing": lambda _: np.nan,
    "the last is missing": lambda index: 1e300 if index else np.nan,
}


def long(contract, count=LEAST_ROWS, start=0, letter="few", width="none is missing", **changes):
    """A run that is long enough, held by column."""
    numbers = [[WIDTHS[width](index), WIDTHS["some are missing"](index)] for index in range(count)]
    words = np.array([[LETTERS[letter](index)] for index in range(count)], dtype=object)
    random = np.random.default_rng(start)
    scores = random.dirichlet([1, 1, 1], count).astype(np.float32)
    made = {
        "values": Matrices(contract, np.array(numbers), words),
        "request_ids": Numbered(f"long{start}", count),
        "entity_ids": [None] * count,
        "scores": scores,
        "labels": scores.argmax(axis=1),
    }
    return held(contract, count, start, **{**made, **changes})


def encode(run, dictionaries) -> Encoded:
    """A run, its features first."""
    return Encoded(run, encode_features(run.values, dictionaries))


def joined(runs, dictionaries) -> bytes:
    """The segment of `runs`, encoded one by one."""
    return b"".join(at_once(join([encode(run, dictionaries) for run in runs])))


def agree(data: bytes, runs) -> None:
    """Every reader finds in it what it finds in a segment of the runs as they are."""
    wanted, plain = pl.read_parquet(b"".join(segment(runs))), pl.read_parquet(data)
    assert plain.equals(wanted)
    assert pq.read_table(io.BytesIO(data)).to_pylist() == wanted.to_dicts()


@pytest.mark.parametrize("letter", LETTERS)
@pytest.mark.parametrize("width", WIDTHS)
def test_a_long_run_is_logged_as_it_came(contract, letter, width) -> None:
    """Whatever is missing, and however many words there are."""
    runs = [
        long(contract, LEAST_ROWS + 3, letter=letter, width=width),
        long(contract, 3 * LEAST_ROWS, 1, letter="some are missing"),
        long(contract, LEAST_ROWS, 2, letter=letter, version="2", role="shadow"),
    ]
    assert all(Encoded.may_hold(run) for run in runs)
    agree(joined(runs, Dictionaries(contract)), runs)


def test_ids_moments_and_order_are_those_of_the_run(contract, tmp_path) -> None:
    """A text for each row, an own moment for each, columns in memory one after the other."""
    count = LEAST_ROWS + 1
    run = long(
        contract,
        count,
        request_ids=[f"é{index}" for index in range(count)],
        entity_ids=[f"UA{index}" for index in range(count)],
        event_times=[NOW + timedelta(microseconds=index) for index in range(count)],
    )
    turned = Matrices(contract, np.asfortranarray(run.values.numbers), run.values.words)
    data = joined([run, long(contract, values=turned, count=count)], Dictionaries(contract))
    agree(data, [run, long(contract, count)])
    path = tmp_path / "joined.parquet"
    path.write_bytes(data)
    found = duckdb.read_parquet(str(path)).filter("entity_id is not null").pl()
    assert found["entity_id"].to_list() == run.entity_ids
    assert found["event_time"].dt.replace_time_zone(None).to_list() == [
        moment.replace(tzinfo=None) for moment in run.event_times
    ]


@settings(max_examples=30, deadline=None)
@given(
    values=st.lists(
        st.lists(st.floats(allow_infinity=False) | st.none(), min_size=1, max_size=20), min_size=1, max_size=3
    )
)
def test_numbers_of_many_columns_are_written_as_those_of_one(values) -> None:
    """Bit for bit, wherever some, none or all of them are missing."""
    size = max(map(len, values))
    matrix = np.array(
        [[np.nan if one is None else one for one in (row * size)[:size]] for row in values], np.float64
    )
    for row, column in zip(matrix, encoded.columns.each_numbers(matrix), strict=True):
        missing = np.isnan(row)
        alone = encoded.columns.numbers(row, missing if missing.any() else None)
        assert b"".join(column.data) == b"".join(alone.data)
        assert column[:2] == alone[:2]


def contract_with(*features):
    """One of these features alone."""
    return Contract(model="toy", features=features, target="t", classes=("a", "b", "c"), scores="probability")


OPEN = Feature(name="open", kind="category", description="d", nullable=True)
MANY = Feature(name="many", kind="category", description="d", categories=tuple(f"c{i}" for i in range(300)))
NUMBER = Feature(name="number", kind="number", description="d")


@pytest.mark.parametrize(
    ("features", "words"),
    [
        ((NUMBER,), None),
        ((OPEN,), ""),
        ((OPEN,), "A"),
        ((MANY,), "c0"),
        ((MANY,), "c299"),
        ((NUMBER, OPEN, MANY), "c299"),
    ],
    ids=["no words", "no word ever", "no numbers", "in the dictionary", "beyond it", "all of them"],
)
def test_a_contract_may_have_any_features(features, words) -> None:
    """Also a column of which nobody has ever sent a word, and one of more words than there is room for."""
    contract = contract_with(*features)
    numbers = np.ones((LEAST_ROWS, len(contract.numbers)))
    categories = None
    if contract.categories:
        categories = np.full((LEAST_ROWS, len(contract.categories)), words, dtype=object)
    runs = [long(contract, start=start, values=Matrices(contract, numbers, categories)) for start in range(3)]
    agree(joined(runs, Dictionaries(contract)), runs)


def test_words_are_kept_for_the_versions_that_answered_last(contract, log) -> None:
    """However many come and go; whose words were forgotten is logged all the same."""
    digests = [f"{index:064d}" for index in range(MOST_VERSIONS + 3)]
    for digest in [*digests, digests[-1], digests[0]]:
        run = long(contract, digest=digest, letter="some are missing")
        log.append(run, log.encoder.encoded(run))
    assert len(log.encoder._dictionaries) == MOST_VERSIONS
    log.close()
    found = read(log)
    assert log.counts.written == found.height == (len(digests) + 2) * LEAST_ROWS
    assert set(found["digest"].unique()) == set(digests)
    assert found["feature.letter"].null_count() == pytest.approx(2 / 5 * found.height, rel=0.02)


def test_runs_whose_words_have_other_numbers_are_not_mixed(contract, tmp_path) -> None:
    """As where a version's words were forgotten between two runs that wait together."""
    log = PredictionLog(tmp_path / "log", "7")
    for start, word in enumerate(["é", "ü", "é"]):
        values = Matrices(contract, np.ones((LEAST_ROWS, 2)), np.full((LEAST_ROWS, 1), word, dtype=object))
        run = long(contract, start=start, values=values)
        log.append(run, log.encoder.encoded(run))
        log.encoder._dictionaries.clear()
    log.start()
    log.close()
    found = read(log).group_by("feature.letter").len().sort("feature.letter").rows()
    assert found == [("é", 2 * LEAST_ROWS), ("ü", LEAST_ROWS)]


def test_what_is_short_or_has_more_to_say_is_not_encoded(contract, make_log) -> None:
    """It goes the way that knows everything."""
    log = make_log()
    assert log.encoder.encoded(long(contract)) is not None
    few = long(contract, LEAST_ROWS - 1)
    filled = long(contract, filled=[["height"]] * LEAST_ROWS)
    keys = long(contract, keys=[None] * LEAST_ROWS)
    partly = long(contract, entity_ids=[None, *["e"] * (LEAST_ROWS - 1)])
    plain = long(contract, values=[{"width": 1.0, "height": None, "letter": "A"}] * LEAST_ROWS)
    many = msgspec.structs.replace(contract, classes=tuple(map(str, range(MOST_WORDS + 1))))
    classes = long(many, scores=np.ones((LEAST_ROWS, MOST_WORDS + 1), np.float32))
    for run in (few, filled, keys, partly, plain, classes):
        assert log.encoder.encoded(run) is None


def test_the_log_takes_long_runs_among_short_ones(tmp_path, contract) -> None:
    """All of them are there, in segments of their own, and each is counted."""
    log = PredictionLog(tmp_path / "log", "7", LogSettings(rows=2 * LEAST_ROWS))
    runs = [held(contract, 1), long(contract, start=1), held(contract, 2, 1), *[long(contract, start=2)] * 3]
    for run in runs:
        log.append(run, log.encoder.encoded(run))
    log.start()
    log.close()
    rows = 3 + 4 * LEAST_ROWS
    heights = [pl.read_parquet(path).height for path in sorted((log._folder / "toy").iterdir())]
    assert sorted(heights) == [3, 2 * LEAST_ROWS, 2 * LEAST_ROWS]
    assert (log.counts.written, log.summary()["waiting"], read(log).height) == (rows, 0, rows)


def test_what_waits_encoded_is_bounded_by_its_bytes(tmp_path, contract) -> None:
    """Those that the file will have."""
    run = long(contract)
    size = encode(run, Dictionaries(contract)).size
    log = PredictionLog(tmp_path / "log", "7", LogSettings(most_bytes=2 * size))
    for _ in range(3):
        log.append(run, log.encoder.encoded(run))
    assert (log.summary()["waiting"], log.summary()["dropped"]) == (2 * LEAST_ROWS, LEAST_ROWS)
    log.start()
    log.close()
    (path,) = (log._folder / "toy").iterdir()
    assert 2 * size < path.stat().st_size < 2 * size + 20_000


def test_what_cannot_be_encoded_is_counted_as_what_cannot_be_written(log, contract, caplog) -> None:
    """The caller has the answer; the log says that it has not."""
    run = long(contract)
    run.values.words[3, 0] = "\ud800"
    log.append(run, log.encoder.encoded(run))
    until(lambda: log.counts.failed == LEAST_ROWS)
    assert "cannot be encoded" in caplog.text


def test_words_keep_their_numbers_while_others_come() -> None:
    """From any thread; and nobody fills the dictionary with texts of any length."""
    words = Dictionary(["A", "B"])
    first = words.indices(["B", "new", "A"]).tolist()
    assert first == [1, 2, 0]
    with ThreadPoolExecutor(8) as threads:
        many = [[f"w{(index * 7 + turn) % 200}" for index in range(200)] for turn in range(40)]
        found = list(threads.map(words.indices, many))
    for values, indices in zip(many, found, strict=True):
        assert [words.words[index] for index in indices] == values
    assert words.indices(["B", "new", "A"]).tolist() == first
    assert words.indices(["y" * (LONGEST + 1)]) is None
    assert words.indices([f"more{index}" for index in range(MOST_WORDS)]) is None
    assert len(words.words) == len(set(words.words)) == 203
    assert words.parts()[1] == 203


def test_a_page_reads_the_same_when_the_dictionary_has_grown(contract) -> None:
    """The file's words are those of its end."""
    dictionaries = Dictionaries(contract)
    runs = [long(contract, letter="few"), long(contract, start=1, letter="some are missing")]
    first = encode(runs[0], dictionaries)
    agree(b"".join(at_once(join([first]))), runs[:1])
    second = encode(runs[1], dictionaries)
    agree(b"".join(at_once(join([first, second]))), runs)
    assert dictionaries["feature.letter"].words[-1] == "é"
