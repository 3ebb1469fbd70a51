"""How much memory a server takes to hold a bundle: `python -m serving.footprint RELEASE DIGEST TRUST`.

Prints, as JSON, the bytes resident with this program's imports alone, and after the bundle was verified,
loaded and asked its golden rows exactly as a server does it.
"""

import gc
import json
import os
import resource
import sys
from pathlib import Path

from contract.attestation import read_trust
from contract.errors import FlightlineError
from contract.graphs import onnxruntime
from serving.models.predictor import Predictor


def resident() -> int:
    """Bytes of memory that this process occupies; where the system tells only the most it ever did, that."""
    try:
        pages = Path("/proc/self/statm").read_text(encoding="ascii").split()[1]
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most if sys.platform == "darwin" else most * 1024
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def main(arguments: list[str]) -> int:
    """Load the bundle between two looks at the process's memory."""
    release, digest, trust = arguments
    onnxruntime()  # a part of the program, and not of the bundle
    gc.collect()
    before = resident()
    predictor = Predictor.load(Path(release), digest, "0", read_trust(Path(trust)))
    gc.collect()
    print(json.dumps({"model": predictor.contract.model, "before": before, "after": resident()}))
    return 0


if __name__ == "__main__":
    try:
        code = main(sys.argv[1:])
    except FlightlineError as error:
        print(f"error: {error}", file=sys.stderr)
        code = 1
    sys.exit(code)
