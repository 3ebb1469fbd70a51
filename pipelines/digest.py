"""digest: the digest of the bundle that staging has tested; with --expect, whether it is the approved one.

What a person approves and what then ships may be made by different jobs: only the digest ties them together.
"""

import argparse
import json
import os
import re

from contract.errors import FlightlineError
from pipelines.cli import OK, command
from pipelines.delivery.registry import STAGING, connect
from pipelines.machine.settings import Settings
from pipelines.machine.workflow import output, summary

DIGEST = re.compile(r"[0-9a-f]{64}")


def tested(model: str, settings: Settings) -> tuple[str, str]:
    """Version and digest of the bundle with the alias `staging`.

    Raises:
        FlightlineError: there is none, or MLflow does not answer.
    """
    version = connect(settings).by_alias(model, STAGING)
    if not DIGEST.fullmatch(version.digest):
        raise FlightlineError(
            f"version {version.version} of {model} has the digest '{version.digest}'",
            "64 hex digits",
            "Register the bundle again",
        )
    return version.version, version.digest


def require(model: str, found: str, expected: str) -> None:
    """Refuse a bundle that is not the approved one, and an approval of nothing.

    Raises:
        FlightlineError: the digests differ, or the expected one is none.
    """
    if not DIGEST.fullmatch(expected):
        raise FlightlineError(
            f"the approved digest of {model} is '{expected[:80]}'", "64 hex digits", "Approve a tested bundle"
        )
    if found != expected:
        raise FlightlineError(
            f"staging has tested {model} {found[:12]}",
            f"{expected[:12]}, which was approved",
            "Have the new one approved; nothing was promoted",
        )


def main(argv: list[str] | None = None) -> int:
    """Print one model's tested digest, or compare it."""
    parser = argparse.ArgumentParser(
        prog="python -m pipelines.digest",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example: python -m pipelines.digest flights --json",
    )
    parser.add_argument("model", help="for example flights")
    parser.add_argument("--expect", help="the digest that was approved; refuse another")
    parser.add_argument("--json", action="store_true", help="for a program to read")
    options = parser.parse_args(argv)
    version, digest = tested(options.model, Settings.from_environment())
    if options.expect is not None:
        require(options.model, digest, options.expect)
    output("digest", digest, os.environ)
    if options.json:
        print(json.dumps({"model": options.model, "version": version, "digest": digest}))
    else:
        word = "is the approved one" if options.expect is not None else "passed staging"
        summary(f"{options.model} version {version}, bundle {digest}, {word}", os.environ)
    return OK


if __name__ == "__main__":
    command(main)
