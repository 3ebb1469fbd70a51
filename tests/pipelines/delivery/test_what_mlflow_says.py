"""What MLflow says is one sentence of ours: whole where it explains itself, short where a proxy answers."""

import errno

import pytest
from mlflow.exceptions import MlflowException, RestException

from contract.errors import FlightlineError
from pipelines.delivery.registry import PAGE, Registry
from pipelines.delivery.tracking_server import NoAnswerError

pytestmark = pytest.mark.unit


def said(error: Exception) -> FlightlineError:
    """What a person reads of `error`."""
    with pytest.raises(FlightlineError) as found, Registry(None, "http://here").explained("moving"):  # type: ignore[arg-type]
        raise error
    return found.value


def test_a_refusal_of_the_guard_is_read_whole() -> None:
    """Its remedy stands at its end, behind everything that was found."""
    sentence = (
        f"Nothing was changed: {'it was left for another, ' * 40}. Run `python -m pipelines.promote iris`."
    )
    error = said(RestException({"error_code": "INVALID_PARAMETER_VALUE", "message": sentence}))
    assert sentence in str(error)
    assert not isinstance(error, NoAnswerError)


def test_a_page_of_a_proxy_is_cut() -> None:
    """It is no sentence, and nothing is known about the version."""
    error = said(MlflowException(f"code 502 != 200. Response body: '{'<p>' * 5_000}'"))
    assert isinstance(error, NoAnswerError)
    assert len(error.found) < PAGE + 50


def test_a_full_disk_is_named_and_is_no_silence_of_mlflows() -> None:
    """What the server says of its own disk is its own."""
    error = said(OSError(errno.ENOSPC, "No space left on device", "var/releases/x"))
    assert error.found == "moving failed: the disk of this machine has no room for var/releases/x"
    assert not isinstance(error, NoAnswerError)
    theirs = said(RestException({"error_code": "INTERNAL_ERROR", "message": "No space left on device"}))
    assert "moving failed: INTERNAL_ERROR: No space left on device" in theirs.found
    assert isinstance(theirs, NoAnswerError)
