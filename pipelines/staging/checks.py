"""What a check is: a name, whether it passed, what was seen, and what was measured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from contract.errors import FlightlineError

ENTITY = "smoke"  # entity id of every request of a suite, so that a monitor can leave them out
JSON = {"content-type": "application/json"}


@dataclass(frozen=True)
class Check:
    """One thing that was looked at, and what was seen."""

    name: str
    passed: bool
    seen: str
    measured: Mapping[str, float] = field(default_factory=dict)  # units are in the names


class Found(Exception):  # noqa: N818 - what was seen, on its way to a Check
    """A check did not see what it should."""

    def __init__(self, seen: str, measured: Mapping[str, float] | None = None) -> None:
        """Keep what was measured, too."""
        super().__init__(seen)
        self.measured = dict(measured or {})


Seen = tuple[str, Mapping[str, float]]
Look = Callable[[], str | Seen]


def checked(name: str, look: Look) -> Check:
    """What `look` sees, as a check called `name`; an answer that cannot be read fails it."""
    try:
        seen = look()
    except Found as found:
        return Check(name, passed=False, seen=str(found), measured=found.measured)
    except (httpx.HTTPError, ValueError, KeyError, TypeError, IndexError) as error:
        return Check(name, passed=False, seen=f"{type(error).__name__}: {error}")
    text, measured = (seen, {}) if isinstance(seen, str) else seen
    return Check(name, passed=True, seen=text, measured=measured)


def require_passed(checks: Sequence[Check], what: str, suite: str = "smoke tests") -> None:
    """Nothing, if every check of `suite` passed.

    Raises:
        FlightlineError: some did not; the sentence names them with what was seen.
    """
    failed = [f"{check.name} ({check.seen})" for check in checks if not check.passed]
    if failed:
        raise FlightlineError(
            f"{what} failed its {suite}: {'; '.join(failed)}", "every check to pass", "Correct the model"
        )


def answer(response: httpx.Response) -> Any:
    """The JSON of a response that must be 200."""
    expect(response, 200)
    return response.json()


def expect(response: httpx.Response, status: int) -> None:
    """Nothing, if the response has this status.

    Raises:
        Found: it has another.
    """
    if response.status_code != status:
        raise Found(f"{response.status_code} from {response.url.path}: {response.text[:120]}")


def refused(response: httpx.Response) -> bool:
    """Whether a service refused with 4xx and an object that says why."""
    if not 400 <= response.status_code < 500:  # noqa: PLR2004 - the caller's mistake
        return False
    try:
        return isinstance(response.json(), dict)
    except ValueError:
        return False
