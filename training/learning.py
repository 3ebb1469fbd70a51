"""Learners over a contract's columns, each a whole scikit-learn pipeline with its preprocessing."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from contract.schema import Contract
from training.model import LABEL, Curve, Fitted, columns

Labels = npt.NDArray[np.int64]

# Of a few rows a thread's part of a tree takes less than waiting for the others: two took 1.4 times as long
# as one for 52,000. Where the second one begins to pay was not measured. The trees are the same either way.
ROWS_A_THREAD = 250_000
UNKNOWN = -1  # the code of a category that training never saw


class BoostedTrees(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hyperparameters of `boosted_trees`."""

    learning_rate: float
    max_leaf_nodes: int
    min_samples_leaf: int  # rows
    l2_regularization: float
    max_iter: int  # trees, at most
    patience: int  # trees without improvement on the validation days before stopping


def boosted_trees(
    contract: Contract, train: pl.DataFrame, validation: pl.DataFrame, params: BoostedTrees, seed: int
) -> Fitted:
    """Histogram gradient boosting, stopped early on `validation`: later days, never a random share.

    Categories become ordinal codes before the trees: the trees' own categorical splits do not survive the
    conversion to ONNX.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import Pipeline

    prepare = _ordinal(contract)
    x_train = prepare.fit_transform(columns(train, contract))
    x_validation = prepare.transform(columns(validation, contract))
    trees = HistGradientBoostingClassifier(
        learning_rate=params.learning_rate,
        max_leaf_nodes=params.max_leaf_nodes,
        min_samples_leaf=params.min_samples_leaf,
        l2_regularization=params.l2_regularization,
        max_iter=params.max_iter,
        early_stopping=True,
        n_iter_no_change=params.patience,
        scoring="loss",
        random_state=seed,
    )
    with limited(max(1, train.height // ROWS_A_THREAD)):
        trees.fit(x_train, target(train), X_val=x_validation, y_val=target(validation))
    curve = Curve(
        metric="log_loss",
        train=tuple(float(-score) for score in trees.train_score_),
        validation=tuple(float(-score) for score in trees.validation_score_),
    )
    return Fitted(Pipeline([("prepare", prepare), ("trees", trees)]), curve)


def logistic(contract: Contract, train: pl.DataFrame, use: tuple[str, ...], seed: int) -> Fitted:
    """Logistic regression on the features named in `use`: the simple model to beat."""
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import Pipeline, make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    names = [feature.name for feature in (*contract.numbers, *contract.categories)]
    split = len(contract.numbers)
    numbers = [index for index, name in enumerate(names) if name in use and index < split]
    categories = [index for index, name in enumerate(names) if name in use and index >= split]
    prepare = ColumnTransformer(
        [
            ("numbers", make_pipeline(SimpleImputer(), StandardScaler()), numbers),
            ("categories", OneHotEncoder(handle_unknown="ignore"), categories),
        ]
    )
    pipeline = Pipeline(
        [("prepare", prepare), ("linear", LogisticRegression(max_iter=500, random_state=seed))]
    )
    pipeline.fit(columns(train, contract), target(train))
    return Fitted(pipeline, Curve("log_loss"))


def support_vectors(
    contract: Contract, train: pl.DataFrame, penalty: float, gamma: float | str, seed: int
) -> Fitted:
    """A support vector classifier on unscaled numbers; a convex problem, so there is no curve."""
    from sklearn.pipeline import Pipeline
    from sklearn.svm import SVC

    pipeline = Pipeline([("svc", SVC(C=penalty, gamma=gamma, random_state=seed))])
    pipeline.fit(columns(train, contract).to_numpy(), target(train))
    return Fitted(pipeline, Curve(""))


def one_split(contract: Contract, train: pl.DataFrame, seed: int) -> Fitted:
    """A decision tree with a single question."""
    from sklearn.tree import DecisionTreeClassifier

    tree = DecisionTreeClassifier(max_depth=1, random_state=seed)
    tree.fit(columns(train, contract).to_numpy(), target(train))
    return Fitted(tree, Curve(""))


def answers(
    pipeline: Any, contract: Contract, rows: pl.DataFrame
) -> tuple[npt.NDArray[Any], npt.NDArray[np.floating[Any]]]:
    """A fitted pipeline's labels (rows,) and scores (rows, classes) of `rows`."""
    return pipeline.predict(given(pipeline, contract, rows)), scores_of(pipeline, contract, rows)


def scores_of(pipeline: Any, contract: Contract, rows: pl.DataFrame) -> npt.NDArray[np.floating[Any]]:
    """A fitted pipeline's scores of `rows`, float (rows, classes): probabilities, or decision values."""
    probabilities = contract.scores == "probability" or not hasattr(pipeline, "decision_function")
    score = pipeline.predict_proba if probabilities else pipeline.decision_function
    return np.asarray(score(given(pipeline, contract, rows)))


def given(pipeline: Any, contract: Contract, rows: pl.DataFrame) -> Any:
    """`rows` in the form that `pipeline` was fitted on: an array for numbers alone, else a table."""
    frame = columns(rows, contract)
    return frame if hasattr(pipeline, "feature_names_in_") else frame.to_numpy()


@contextmanager
def limited(threads: int) -> Iterator[None]:
    """Learners inside the block use at most `threads` threads: more only wait where two processes learn."""
    import sklearn  # noqa: F401 - its threads can be limited once they are there
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=threads, user_api="openmp"):
        yield


def target(frame: pl.DataFrame) -> Labels:
    """The labels as int64 (rows,), indices into the contract's classes."""
    return frame[LABEL].to_numpy().astype(np.int64)


def _ordinal(contract: Contract) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.preprocessing import OrdinalEncoder

    width = len(contract.numbers)
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=UNKNOWN, dtype=np.float32)
    return ColumnTransformer(
        [
            ("numbers", "passthrough", list(range(width))),
            ("categories", encoder, list(range(width, width + len(contract.categories)))),
        ]
    )
