"""How good a model's answers are, from labels and scores alone."""

import numpy as np
import polars as pl

from contract.schema import Contract
from training.model import AT, ID

CALIBRATION_BINS = 10
_TINY = 1e-7  # scores are float32: closer to 0 or 1 than this is rounding


def measure(label: np.ndarray, scores: np.ndarray, contract: Contract) -> dict[str, float]:
    """Metrics of `scores` (rows, classes) against `label` int (rows,).

    `accuracy` always. For probabilities `log_loss` (nats), `brier` and `calibration_error` (expected
    calibration error, ten equal-width bins), and for two classes `roc_auc` of the second class.
    """
    found = {"accuracy": float(np.mean(np.argmax(scores, axis=1) == label))}
    if contract.scores == "probability":
        found["log_loss"] = float(np.mean(losses(label, scores, contract)))
        hit = np.eye(scores.shape[1])[label]
        found["brier"] = float(np.mean(np.sum((scores - hit) ** 2, axis=1)) / 2)
        found["calibration_error"] = calibration_error(hit[:, -1], scores[:, -1])
        if len(contract.classes) == 2:  # noqa: PLR2004 - a ROC curve needs a positive class
            from sklearn.metrics import roc_auc_score

            found["roc_auc"] = float(roc_auc_score(label, scores[:, 1]))
    return found


def losses(label: np.ndarray, scores: np.ndarray, contract: Contract) -> np.ndarray:
    """The loss of each row, float64 (rows,): log loss in nats for probabilities, else 0 or 1."""
    if contract.scores == "probability":
        picked = scores[np.arange(len(label)), label].astype(np.float64)
        return np.asarray(-np.log(np.clip(picked, _TINY, 1.0)))
    return np.asarray(np.argmax(scores, axis=1) != label, dtype=np.float64)


def loss_name(contract: Contract) -> str:
    """What `losses` averages to."""
    return "log_loss" if contract.scores == "probability" else "error_rate"


def blocks(rows: pl.DataFrame, *, by_day: bool) -> np.ndarray:
    """The block of each row for a bootstrap: its UTC day where rows have a time of their own, else itself.

    In New York a UTC day ends at seven or eight in the evening.
    """
    return (rows[AT].dt.date() if by_day else rows[ID]).to_numpy()


def calibration_error(hit: np.ndarray, probability: np.ndarray) -> float:
    """Expected calibration error (Naeini et al. 2015): mean |observed - predicted| over bins, by size."""
    bins = np.minimum((probability * CALIBRATION_BINS).astype(int), CALIBRATION_BINS - 1)
    size = np.bincount(bins, minlength=CALIBRATION_BINS)
    gap = np.bincount(bins, hit, CALIBRATION_BINS) - np.bincount(bins, probability, CALIBRATION_BINS)
    return float(np.abs(gap).sum() / size.sum())


def prior_scores(train_label: np.ndarray, rows: int, contract: Contract) -> np.ndarray:
    """The trivial baseline: each class's share of the training rows, whatever the input."""
    shares = np.bincount(train_label, minlength=len(contract.classes)) / len(train_label)
    return np.tile(shares, (rows, 1))
