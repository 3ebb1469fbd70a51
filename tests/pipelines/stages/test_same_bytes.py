"""Two clean runs of the train stage, in processes that hash strings differently, make one graph (C11)."""

import pytest


@pytest.mark.parametrize("seed", ["1", "4242"])
def test_another_process_trains_the_same_graph(finished_copy, command, monkeypatch, seed):
    """Byte for byte, and its curve as well; the graph of before was removed."""
    folder = finished_copy / "artifacts" / "iris"
    before = (folder / "model" / "model.onnx").read_bytes(), (folder / "curve.json").read_bytes()
    (folder / "model" / "model.onnx").unlink()
    monkeypatch.setenv("PYTHONHASHSEED", seed)
    done = command(finished_copy, "train", "iris")
    assert done.returncode == 0, done.stderr
    assert ((folder / "model" / "model.onnx").read_bytes(), (folder / "curve.json").read_bytes()) == before


@pytest.mark.slow
def test_another_penalty_is_another_graph(finished_copy, command):
    """The control: what should change the bytes does."""
    path = finished_copy / "artifacts" / "iris" / "model" / "model.onnx"
    before = path.read_bytes()
    params = finished_copy / "params.yaml"
    params.write_text(params.read_text().replace("C: 1.0 ", "C: 1.5 ").replace("C: 1.0\n", "C: 1.5\n"))
    assert command(finished_copy, "train", "iris").returncode == 0
    assert path.read_bytes() != before
