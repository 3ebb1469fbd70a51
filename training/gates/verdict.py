"""What a gate says."""

import math
from collections.abc import Iterable, Mapping

import msgspec

from contract.verdict import Outcome, Verdict

__all__ = [
    "TITLES",
    "Evidence",
    "Outcome",
    "Verdict",
    "audited",
    "judge",
    "not_applicable",
    "number",
    "settle",
]

TITLES = {
    "G01": "loss converges",
    "G02": "the learner can overfit a handful of rows",
    "G03": "quality over absolute thresholds",
    "G04": "beats a trivial baseline and a simple model",
    "G05": "not worse than the champion on the same rows",
    "G06": "no important slice worse than the champion's",
    "G07": "calibrated: probabilities are met by frequencies",
    "G08": "no leakage",
    "G09": "ONNX parity with scikit-learn",
    "G10": "fast enough beside a reference graph",
    "G11": "small enough to ship and to hold in memory",
    "G12": "schema: the graph is what the contract says",
    "G13": "behaves: changed inputs are answered with sense",
    "G14": "the same training gives the same model",
    "G15": "the held-out period is fresh",
    "G16": "fair across the declared groups",
}


class Evidence(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The verdicts of one training run, in the order of their codes, and the metrics they judged."""

    verdicts: tuple[Verdict, ...]
    metrics: dict[str, float] = {}

    def failed(self) -> list[Verdict]:
        """The verdicts that forbid a release."""
        return [verdict for verdict in self.verdicts if verdict.verdict == "fail"]


def judge(code: str, value: str, threshold: str, problems: list[str], fine: str) -> Verdict:
    """`fail` with the problems where there are any, else `pass` with the reason `fine`."""
    outcome: Outcome = "fail" if problems else "pass"
    return Verdict(code, TITLES[code], outcome, value, threshold, "; ".join(problems) or fine)


def not_applicable(code: str, reason: str) -> Verdict:
    """The gate has nothing to judge; whether that is allowed is the policy's to say."""
    return Verdict(code, TITLES[code], "not applicable", "", "", reason)


def settle(
    verdicts: Iterable[Verdict], may_not_apply: Iterable[str], metrics: Mapping[str, float] | None = None
) -> Evidence:
    """Sort the verdicts; a gate that does not apply though the policy demands it is a failure."""
    allowed = set(may_not_apply)
    settled = (
        msgspec.structs.replace(
            verdict,
            verdict="fail",
            reason=f"not applicable ({verdict.reason}), which policy.yaml does not allow",
        )
        if verdict.verdict == "not applicable" and verdict.code not in allowed
        else verdict
        for verdict in verdicts
    )
    return Evidence(tuple(sorted(settled, key=lambda verdict: verdict.code)), dict(metrics or {}))


def audited(evidence: Evidence, expected: Iterable[str], may_not_apply: Iterable[str]) -> Evidence:
    """`evidence` as it counts under the present policy: exactly the gates `expected`, each once.

    Evidence travels in the bundle and may be older than the policy, or emptied: a gate that it does not
    judge has failed, and so has one that nobody knows or that is judged twice. What was not applicable when
    it was written is settled again.
    """
    wanted, allowed = tuple(expected), tuple(may_not_apply)
    codes = [verdict.code for verdict in evidence.verdicts]
    judged = [
        _wrong(code, "the evidence holds no verdict of it, so it was not judged")
        for code in wanted
        if code not in codes
    ]
    for verdict in evidence.verdicts:
        if verdict.code not in wanted:
            judged.append(_wrong(verdict.code, "the policy declares no such gate for a training run"))
        elif codes.count(verdict.code) > 1:
            judged.append(_wrong(verdict.code, f"the evidence judges it {codes.count(verdict.code)} times"))
        else:
            judged.append(verdict)
    return settle(judged, allowed, evidence.metrics)


def _wrong(code: str, reason: str) -> Verdict:
    return Verdict(code, TITLES.get(code, "an unknown gate"), "fail", "", "judged once", reason)


def number(value: float) -> str:
    """Four significant digits, or the word for what is not a number."""
    return f"{value:.4g}" if math.isfinite(value) else str(value)
