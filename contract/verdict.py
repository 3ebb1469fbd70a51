"""What a gate says: the form in which it travels in bundles, in signed statements and to people."""

from typing import Literal

import msgspec

Outcome = Literal["pass", "fail", "not applicable"]


class Verdict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One gate's finding: what was measured, against what, and why that is the outcome."""

    code: str
    title: str
    verdict: Outcome
    value: str
    threshold: str
    reason: str
