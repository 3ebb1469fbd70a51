"""Rows whose values are not what the contract says, and keys that are given twice."""

from tests.serving.http.bad_inputs.form import ROW, Bad, batch, body, row, text


def without(name: str) -> Bad:
    """A prediction of the good row without one feature."""
    return body({"row": {key: value for key, value in ROW.items() if key != name}}, f"row.{name}")


def twice(content: str, field: str, url: str = "/predict") -> Bad:
    """A body in which a key stands twice."""
    return text(content, field, 422, url=url)


CASES = {
    "unknown feature": row("row.widht", widht=1),
    "unknown feature that is null": row("row.depth", depth=None),
    "feature in capitals": row("row.WIDTH", WIDTH=1),
    "feature with an empty name": row("row.", **{"": 1}),
    "feature with a nul in its name": row("row.width\0", **{"width\0": 1}),
    "feature with an invisible character": row("row.width\u200b", **{"width\u200b": 1}),
    "feature in look-alike letters": body({"row": ROW | {"w\u0456dth": 1}}, "row.w\u0456dth"),
    "thousands of unknown features": row("row.widht0", **{f"widht{index}": 1 for index in range(20_000)}),
    "huge unknown feature": row("row." + "x" * 80, **{"x" * 1_000_000: 1}),
    "required feature absent": without("width"),
    "required feature null": row("row.width", width=None),
    "number as string": row("row.width", width="1.5"),
    "number as an empty string": row("row.width", width=""),
    "number as the string nan": row("row.width", width="NaN"),
    "number as a huge string": row("row.width", width="x" * 1_000_000),
    "number as true": row("row.width", width=True),
    "number as false": row("row.height", height=False),
    "number as array": row("row.width", width=[1.5]),
    "number as an empty array": row("row.height", height=[]),
    "number as object": row("row.width", width={"value": 1.5}),
    "number as a tagged nan": row("row.height", height={"$numberDouble": "NaN"}),
    "number just below its range": row("row.width", width=-0.001),
    "number just above its range": row("row.width", width=10.000001),
    "number far above its range": row("row.width", width=1e38),
    "negative denormal below its range": row("row.width", width=-5e-324),
    "number beyond float32": row("row.height", height=1e39),
    "negative number beyond float32": row("row.height", height=-1e39),
    "number just beyond float32": row("row.height", height=3.5e38),
    "integer beyond 63 bits": row("row.width", width=2**63),
    "integer beyond 64 bits": row("row.width", width=2**64),
    "negative integer beyond 63 bits": row("row.width", width=-(2**63) - 1),
    "integer beyond float32": row("row.height", height=10**39),
    "integer beyond float64": row("row.height", height=10**400),
    "integer of 4,400 digits": text('{"row": {"width": 1, "height": ' + "9" * 4_400 + "}}", "body", 400),
    "category as number": row("row.letter", letter=1),
    "category as boolean": row("row.letter", letter=False),
    "category as array": row("row.letter", letter=["A"]),
    "category as object": row("row.letter", letter={"name": "A"}),
    "category empty": row("row.letter", letter=""),
    "category with nul": row("row.letter", letter="A\0B"),
    "category that is a nul": row("row.letter", letter="\0"),
    "unknown category where it is refused": body(
        {"row": ROW | {"letter": "C"}}, "row.letter", url="/predict?model=strict"
    ),
    "category in the other case where it is refused": body(
        {"row": ROW | {"letter": "a"}}, "row.letter", url="/predict?model=strict"
    ),
    "category with a blank where it is refused": body(
        {"row": ROW | {"letter": "A "}}, "row.letter", url="/predict?model=strict"
    ),
    "huge unknown category": body(
        {"row": ROW | {"letter": "x" * 1_000_000}}, "row.letter", url="/predict?model=strict"
    ),
    "feature of another model": body({"row": ROW}, "row.letter", url="/predict?model=plain"),
    "batch with one number out of range": batch("rows[1].width", rows=[ROW, ROW | {"width": 11}]),
    "batch with one unknown feature": batch("rows[0].depth", rows=[ROW | {"depth": 1}, ROW]),
    "batch with one unknown category": body(
        {"rows": [ROW, ROW | {"letter": "C"}]}, "rows[1].letter", url="/predict_batch?model=strict"
    ),
    "feature twice": twice('{"row": {"width": 1, "letter": "A", "width": 2}}', "width"),
    "feature twice with equal values": twice('{"row": {"width": 1, "width": 1}}', "width"),
    "feature twice, once escaped": twice('{"row": {"width": 1, "wi\\u0064th": 2}}', "width"),
    "feature twice, once null": twice('{"row": {"width": 1, "height": 1, "height": null}}', "height"),
    "row twice": twice('{"row": {"width": 1}, "row" : {"width": 1}}', "row"),
    "row twice, once escaped": twice('{"row": {"width": 1}, "\\u0072ow": {"width": 1}}', "row"),
    "id twice": twice('{"row": {"width": 1}, "id": "a", "id": "b"}', "id"),
    "batch with a feature twice": twice(
        '{"rows": [{"width": 1}, {"width": 1, "width": 1}]}', "width", "/predict_batch"
    ),
    "batch with rows twice": twice(
        '{"rows": [{"width": 1}], "rows": [{"width": 2}]}', "rows", "/predict_batch"
    ),
    "data twice": twice('{"data": [[1, 2]], "data": [[3, 4]]}', "data", "/predict/label"),
}
