"""A benchmark says how fast the machine was just then, and nothing here judges a time."""

import re
import subprocess
from pathlib import Path

import pytest

from benchmarks import builds as building
from benchmarks import inference as inferring
from benchmarks import report
from benchmarks.__main__ import main
from benchmarks.builds import clone
from benchmarks.calibration import Figure, calibrate, measured
from contract.errors import FlightlineError
from pipelines.machine.generated import read_parts

ROOT = Path(__file__).parents[2]
FIGURES = [Figure("a build", 12.345, 0.1, 90.0, "7 stages"), Figure("a row", 0.0000215, 0.08)]


@pytest.mark.unit
def test_the_loop_takes_time():
    """It is work that nobody optimises away, and short enough to stand beside every figure."""
    assert 0 < calibrate() < 60


@pytest.mark.unit
def test_what_is_measured_is_called_and_stands_beside_the_loop():
    """As often as was asked for; the time is that of one call."""
    calls = []
    figure = measured("x", lambda: calls.append(1), repeat=7)
    assert len(calls) == 7
    assert figure.seconds < figure.calibration_s
    assert figure.ratio == pytest.approx(figure.seconds / figure.calibration_s)


@pytest.mark.unit
@pytest.mark.parametrize("loop", [0.0, -1.0, float("nan")])
def test_a_figure_without_its_loop_is_refused(loop):
    """A time alone compares with nothing, so there is no such figure."""
    with pytest.raises(ValueError, match="took 1 s beside a loop"):
        Figure("x", 1, loop)
    with pytest.raises(TypeError, match="calibration_s"):
        Figure("x", 1)


@pytest.mark.unit
def test_the_table_has_the_loop_in_every_row():
    """Time, loop, ratio, and what was asked for; each in the unit that suits it."""
    head, _, build, row = report.table(FIGURES).splitlines()
    assert head == "| what | time | calibration loop | ratio | asked for | |"
    assert build == "| a build | 12.3 s | 100 ms | 123.5 | under 90 s | 7 stages |"
    assert row == "| a row | 21.5 µs | 80 ms | 0.0002688 |  |  |"


@pytest.mark.unit
def test_figures_are_written_between_their_markers_only(tmp_path):
    """The section of another benchmark stays, and a section without markers is refused."""
    path = tmp_path / "benchmarks.md"
    path.write_text(
        "# A\n<!-- generated: builds -->\n<!-- end: builds -->\n## Features\n| mine |\n", encoding="utf-8"
    )
    report.write("builds", FIGURES, "2 cores.", path)
    text = path.read_text()
    assert read_parts(text)["builds"] == f"2 cores.\n\n{report.table(FIGURES)}"
    assert text.endswith("## Features\n| mine |\n")
    with pytest.raises(FlightlineError, match="no place for inference"):
        report.write("inference", FIGURES, "2 cores.", path)


def figures_without_loop(document: str) -> list[str]:
    """Rows of the own parts of the document that have a time and no calibration loop."""
    rows = [
        line.split("|")[1:-1]
        for name, part in read_parts(document).items()
        if name in {"builds", "inference"}
        for line in part.splitlines()
        if line.startswith("| ") and not line.startswith(("| what", "| ---"))
    ]
    is_time = re.compile(r"^ \d[\d.e+]* (s|ms|µs) $")
    return [cells[0].strip() for cells in rows if not (is_time.match(cells[1]) and is_time.match(cells[2]))]


@pytest.mark.unit
def test_every_figure_of_the_document_has_its_loop():
    """None was written without the time of the machine beside it."""
    text = (ROOT / "docs/benchmarks.md").read_text()
    assert "raw to bundle" in text
    assert figures_without_loop(text) == []
    assert figures_without_loop(text.replace(" ms |", " |", 1)) != []


@pytest.mark.unit
def test_stages_are_heard_in_the_lines_they_print(monkeypatch, tmp_path):
    """Each stage from the end of the one before; the whole is not less than they are together."""
    lines = ["  ingest iris: 150 rows", "  something else", "  train iris: 105 rows", "  split flights: 3"]

    def told(model, root, say):
        assert (model, root) == ("iris", tmp_path)
        for line in lines:
            say(line)

    monkeypatch.setattr(building, "repro", told)
    said = []
    whole, *stages = building._build("iris", 15.0, tmp_path, said.append)
    assert said == lines
    assert [stage.name for stage in stages] == ["iris: ingest", "iris: train"]
    assert whole.seconds >= sum(stage.seconds for stage in stages)
    assert (whole.target_s, whole.detail) == (15.0, "2 stages")
    lines.clear()
    with pytest.raises(FlightlineError, match="dvc repro built no stage of iris"):
        building._build("iris", 15.0, tmp_path, said.append)


def test_the_clone_is_the_last_commit_and_has_built_nothing(tmp_path):
    """What is not committed is not in it; with a lock file or a cache something might be reused."""
    source = tmp_path / "source"
    source.mkdir()
    for name in ("dvc.lock", "code.py"):
        (source / name).write_text("committed")
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], [*identity, "commit", "-qm", "x"]):
        subprocess.run(["git", "-C", str(source), *words], check=True, timeout=60)
    (source / "code.py").write_text("changed")
    clone(source, tmp_path / "clone")
    assert (tmp_path / "clone/code.py").read_text() == "committed"
    assert not (tmp_path / "clone/dvc.lock").exists()
    with pytest.raises(FlightlineError, match="git clone failed"):
        clone(tmp_path / "nothing", tmp_path / "second")


@pytest.mark.unit
def test_inference_without_a_model_is_said(tmp_path):
    """One sentence with the command that builds one."""
    with pytest.raises(FlightlineError, match=r"does not exist; expected a built model\. Run: make train"):
        inferring.inference(tmp_path / "bundle")


@pytest.mark.unit
def test_a_missing_benchmark_is_said(monkeypatch):
    """Asked for by name, a benchmark that is not there is an error; among all it is left out."""
    monkeypatch.setattr("benchmarks.__main__.FEATURES", "nowhere")
    with pytest.raises(FlightlineError, match=r"there is no benchmarks\.nowhere"):
        main(["--only", "nowhere"])
