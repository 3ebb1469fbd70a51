"""Bad inputs below HTTP."""

WIRE: dict = {}
