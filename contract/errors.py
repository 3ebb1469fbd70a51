"""The one way in which Flightline refuses something."""


class FlightlineError(Exception):
    """A refusal that a person can act on: what was found, what was expected, what to do.

    Commands print it as one line and exit with a non-zero code; servers answer with its parts.
    """

    def __init__(self, found: str, expected: str, remedy: str) -> None:
        """Keep the three parts; `str()` joins them into one sentence."""
        super().__init__(found, expected, remedy)
        self.found = found
        self.expected = expected
        self.remedy = remedy

    def __str__(self) -> str:
        """`found; expected ...; remedy.` as one line."""
        return f"{self.found}; expected {self.expected}. {self.remedy}."


class ConfigError(FlightlineError):
    """A configuration or contract file says something that cannot be meant."""


class BundleError(FlightlineError):
    """A bundle, or what was attested about it, is not what it claims to be."""
