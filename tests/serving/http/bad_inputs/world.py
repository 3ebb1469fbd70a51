"""The models that bad inputs are sent to: each rule of a contract is in use by one of them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from contract.bundle import Golden


def releases(folder: Path, build_release: Callable[..., Any]) -> list[Any]:
    """`toy`, the default, counts an unknown letter, `strict` refuses it, `plain` claims /predict/label."""
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
    ]
