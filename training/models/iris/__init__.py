"""Fisher's iris: three species from four lengths. Small, quick, and the proof that nothing is special-cased.

The learner is an SVC on unscaled lengths. The split is fixed, so the model is the same on every machine.
"""

from datetime import UTC, datetime

import msgspec
import polars as pl

from contract.schema import Contract, Feature
from training.learning import one_split, support_vectors
from training.model import AT, ID, LABEL, LABEL_AT, Behaviour, Card, Fitted, Model, Slice, Tables, grouped
from training.validation import Rule

SPECIES = ("setosa", "versicolor", "virginica")
LENGTHS = ("sepal_length", "sepal_width", "petal_length", "petal_width")
PUBLISHED = datetime(1936, 9, 1, tzinfo=UTC)  # Annals of Eugenics 7(2): the rows have no time of their own


def _length(name: str, low: float, high: float) -> Feature:
    text = name.replace("_", " ")
    return Feature(
        name, "number", text, unit="cm", minimum=low, maximum=high, out_of_range="accept_and_count"
    )


CONTRACT = Contract(
    model="iris",
    target="species",
    classes=SPECIES,
    scores="decision",
    routes=("/predict/label",),
    features=(
        _length("sepal_length", 4.3, 7.9),
        _length("sepal_width", 2.0, 4.4),
        _length("petal_length", 1.0, 6.9),
        _length("petal_width", 0.1, 2.5),
    ),
)


def arrange(sources: Tables) -> dict[str, pl.DataFrame]:
    """One table, `flowers`: the published rows with an id each. Their header names no column."""
    source = sources["iris"]
    named = source.rename(dict(zip(source.columns, (*LENGTHS, LABEL), strict=True)))
    return {
        "flowers": named.with_row_index("row")
        .with_columns(pl.format("flower/{}", "row").alias(ID))
        .drop("row")
    }


def rows(tables: Tables) -> pl.DataFrame:
    """One row a flower; all labels are known since publication."""
    known = pl.lit(PUBLISHED).cast(pl.Datetime("us", "UTC"))
    return tables["flowers"].with_columns(
        known.alias(AT), known.alias(LABEL_AT), pl.col(LABEL).cast(pl.Int64)
    )


class Params(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Hyperparameters of the support vector classifier."""

    C: float  # the field's own name for the penalty
    gamma: float | str  # of the kernel exp(-gamma d^2); scale is 1 / (features x variance)


def fit(
    contract: Contract,
    train: pl.DataFrame,
    validation: pl.DataFrame,  # noqa: ARG001 - one interface for all models
    params: Params,
    seed: int,
) -> Fitted:
    """An SVC; it has no iterations to stop, so the validation rows stay unused."""
    return support_vectors(contract, train, params.C, params.gamma, seed)


def simple(train: pl.DataFrame, seed: int) -> Fitted:
    """One question about one length."""
    return one_split(CONTRACT, train, seed)


RULES = {
    "flowers": (
        Rule("known_species", "the species is none of the three", pl.col(LABEL).is_between(0, 2)),
        Rule(
            "positive_lengths",
            "a length that is not positive",
            pl.all_horizontal(pl.col(name) > 0 for name in LENGTHS),
        ),
    ),
}

CARD = Card(
    summary="""
The species of an iris flower from the lengths and widths of its sepals and petals: a support vector
classifier on unscaled centimetres.
""",
    intended_use="""
Teaching and testing. It trains in a second, and keeps every part of the system honest about being
generic.
""",
    out_of_scope="""
- Flowers of any other species: the model always names one of the three.
- Any use of the scores as probabilities: they are decision values.
""",
    training_data="""
Fisher's 150 flowers (1936), 50 of each species, as they come with scikit-learn. They have no time of
their own, so the held-out rows are drawn once, by a fixed seed.
""",
    limitations="""
- So few flowers are held out that a single mistake moves the accuracy by about two percent.
- Lengths outside the ranges of the training rows are answered, and counted.
""",
    dataset="iris",
    dataset_license="""
Published by R. A. Fisher in the Annals of Eugenics and distributed with scikit-learn (BSD-3-Clause).
""",
    tags=("iris",),
)

BEHAVIOURS = (
    Behaviour(
        "longer and wider petals",
        "of the three virginica has the largest: growing does not lead away from it",
        (pl.col("petal_length") + 1, pl.col("petal_width") + 0.5),
        "not lower",
        rows=pl.col("petal_length").is_between(
            2.5, 10
        ),  # cm; setosa, whose petals end before, are far from any border
    ),
)

MODEL = Model(
    contract=CONTRACT,
    arrange=arrange,
    rows=rows,
    params=Params,
    fit=fit,
    simple=simple,
    rules=RULES,
    slices=tuple(Slice(name, pl.col(LABEL) == index) for index, name in enumerate(SPECIES)),
    feature_groups=grouped(CONTRACT, lambda feature: feature.name.partition("_")[0]),
    card=CARD,
    behaviours=BEHAVIOURS,
)
