"""Pictures follow from their values, byte for byte."""

import dataclasses
import io

import matplotlib as mpl
import msgspec
import numpy as np
import pytest
from PIL import Image

from training import pictures
from training.ablation import Ablation, Gain
from training.diagnostics import Bin, Part, Point, Trade
from training.gates.verdict import judge, not_applicable
from training.model import Curve

# No `unit`: pictures take a library that the fastest tests would have to import.

CURVE = Curve("log_loss", (0.6, 0.5, 0.4), (0.61, 0.52, 0.53))
BINS = (Bin(0.1, 0.12, 0.08, 0.15, 900), Bin(0.7, 0.6, 0.5, 0.7, 100))
POINTS = (Point("late", 0, 0), Point("late", 0.2, 0.6), Point("late", 1, 1))
TRADES = (Trade("late", 0.1, 0.9), Trade("late", 1, 0.3))
PARTS = (Part("all", 100, 0.4, 0.3, 0.5), Part("JFK", 40, 0.45, 0.3, 0.6))
GAINS = Ablation("log_loss", 100, 0.4, 7, {"a": Gain(0.1, 0.05, 0.2), "b": Gain(-0.01, -0.02, -0.005)})
VERDICTS = (judge("G03", "0.7", ">= 0.6", [], "good"), judge("G04", "0.1", ">= 0.2", ["too close"], ""))
ROWS = ({"metric": "log_loss", "model": 0.4, "simple": 0.5, "baseline": float("nan")},)

DRAWN = {
    "loss": lambda: pictures.loss_curve("toy", CURVE),
    "reliability": lambda: pictures.reliability_diagram("toy", BINS, "late", 0.02),
    "roc": lambda: pictures.roc_curve("toy", POINTS, {"late": 0.7}),
    "precision_recall": lambda: pictures.precision_recall_curve("toy", TRADES, {"late": 0.6}, {"late": 0.3}),
    "slices": lambda: pictures.slice_plot("toy", PARTS, "log_loss"),
    "feature_groups": lambda: pictures.ablation_bars("toy", GAINS),
    "gates": lambda: pictures.gate_picture("toy", VERDICTS),
    "comparison": lambda: pictures.comparison_picture("toy", ROWS),
}
EMPTY = {
    "loss": lambda: pictures.loss_curve("toy", Curve("")),
    "reliability": lambda: pictures.reliability_diagram("toy", (), "late", float("nan")),
    "roc": lambda: pictures.roc_curve("toy", (), {}),
    "precision_recall": lambda: pictures.precision_recall_curve("toy", (), {}, {}),
    "feature_groups": lambda: pictures.ablation_bars("toy", Ablation("log_loss", 1)),
}
OTHER = {
    "loss": lambda: pictures.loss_curve("toy", dataclasses.replace(CURVE, train=(0.6, 0.5, 0.45))),
    "reliability": lambda: pictures.reliability_diagram("toy", BINS[:1], "late", 0.02),
    "roc": lambda: pictures.roc_curve("toy", POINTS, {"late": 0.8}),
    "precision_recall": lambda: pictures.precision_recall_curve("toy", TRADES, {"late": 0.6}, {"late": 0.4}),
    "slices": lambda: pictures.slice_plot(
        "toy", (PARTS[0], msgspec.structs.replace(PARTS[1], loss=0.5)), "log_loss"
    ),
    "feature_groups": lambda: pictures.ablation_bars("toy", msgspec.structs.replace(GAINS, rows=200)),
    "gates": lambda: pictures.gate_picture("toy", (VERDICTS[0], not_applicable("G05", "none"))),
    "comparison": lambda: pictures.comparison_picture("toy", ({**ROWS[0], "simple": 0.3},)),
}


def pixels(png):
    """The grey values of a picture."""
    return np.asarray(Image.open(io.BytesIO(png)).convert("L"))


@pytest.mark.parametrize("name", DRAWN)
def test_equal_values_give_equal_bytes_whatever_the_readers_settings(name, monkeypatch):
    """A picture is an output of a cached stage: no date, no version, nobody's own style."""
    first = DRAWN[name]()
    monkeypatch.setitem(mpl.rcParams, "font.size", 23)
    monkeypatch.setitem(mpl.rcParams, "axes.facecolor", "black")
    assert DRAWN[name]() == first
    assert mpl.rcParams["font.size"] == 23  # and ours stays ours
    assert b"Software" not in first


@pytest.mark.parametrize("name", OTHER)
def test_another_value_gives_another_picture(name):
    """What is drawn is what was given."""
    assert DRAWN[name]() != OTHER[name]()


@pytest.mark.parametrize("name", DRAWN)
def test_nothing_is_cut_off_at_the_edge(name):
    """A white frame of some pixels: no label runs out of the picture."""
    found = pixels(DRAWN[name]())
    edges = (found[:4], found[-4:], found[:, :4], found[:, -4:])
    assert all((edge == 255).all() for edge in edges)
    assert found.min() < 100


@pytest.mark.parametrize("name", EMPTY)
def test_what_cannot_be_drawn_says_so(name):
    """A picture with a sentence, so that it is not taken for forgotten."""
    found = pixels(EMPTY[name]())
    assert 0 < (found < 128).sum() < 6000
