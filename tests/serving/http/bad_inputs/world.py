"""The models that bad inputs are sent to: each rule of a contract is in use by one of them."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contract.bundle import Golden
from contract.schema import Aggregate, Contract, Feature, Lookup
from tests.conftest import toy_contract

BOOKED = Feature(
    name="width",
    kind="number",
    description="sold in the last hour",
    source="stream",
    minimum=0,
    maximum=10,
    aggregate=Aggregate("sales", ("letter",), "sum", 60, "pieces"),
)
HEIGHT = Feature(
    name="height",
    kind="number",
    description="of the shelf",
    source="batch",
    nullable=True,
    lookup=Lookup("shelves", ("shelf",), "height"),
)


def shop_contract(model: str = "toy") -> Contract:
    """The toy's contract, its numbers being stored features."""
    toy = toy_contract(model)
    return msgspec.structs.replace(toy, features=(BOOKED, HEIGHT, toy.features[2]))


def stocked_contract() -> Contract:
    """The same, of which no row is refused for what the store says once it has a `sale`."""
    contract = shop_contract()
    booked = msgspec.structs.replace(BOOKED, out_of_range="accept_and_count")
    return msgspec.structs.replace(contract, features=(booked, *contract.features[1:]))


def sale(**changes: Any) -> dict[str, Any]:
    """An event of now."""
    facts = {"letter": "A", "pieces": 5}
    return {"id": "s", "stream": "sales", "at": datetime.now(UTC).isoformat(), "facts": facts} | changes


def releases(folder: Path, build_release: Callable[..., Any]) -> list[Any]:
    """Four of them.

    `toy`, the default, counts an unknown letter, `strict` refuses it, `plain` claims /predict/label,
    `shop` has features of the online store.
    """
    key = Ed25519PrivateKey.generate()
    toy = build_release(folder / "toy", key=key)
    golden = msgspec.json.decode((toy.bundle / "golden.json").read_bytes(), type=Golden)
    known = Golden(
        tolerance=golden.tolerance, rows=tuple(row for row in golden.rows if row.row["letter"] != "?")
    )
    letter = msgspec.structs.replace(toy.contract.categories[0], unknown_category="refuse")
    numbers = toy.contract.numbers
    strict = msgspec.structs.replace(toy.contract, model="strict", features=(*numbers, letter))
    plain = msgspec.structs.replace(toy.contract, model="plain", features=numbers, routes=("/predict/label",))
    return [
        toy,
        build_release(folder / "strict", key=key, contract=strict, golden=known),
        build_release(folder / "plain", key=key, contract=plain),
        build_release(folder / "shop", key=key, contract=shop_contract("shop")),
    ]
