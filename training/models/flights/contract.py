"""What the flights model takes and answers, and from which past events its features are computed.

Streams: `landings` and `departures` as they happen, `schedule` with each flight at its own minute, `weather`
as it is published, and `queue`, which a flight joins at its scheduled minute and leaves when it departs.
"""

from contract.schema import Aggregate, Contract, Feature, Lookup

LEAD = 60  # minutes between prediction and scheduled departure
HOUR, DAY = 60, 1440  # minutes
ORIGINS = ("EWR", "JFK", "LGA")
CARRIERS = ("9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV")

# Minutes of silence after which what is known is stale. In 2013 departures were silent for 15.5 hours once
# (a snowstorm), landings for 13, the weather for 6.
STATE_STALE, WEATHER_STALE, RATE_STALE = 18 * HOUR, 12 * HOUR, 2 * DAY
FLEET_STALE = 60 * DAY  # planes come and go by the month

RATES = {  # keys of a share of late landings -> what has these keys in common
    ("carrier",): "carrier",
    ("origin", "dest"): "route",
    ("origin",): "origin",
    ("hour",): "scheduled local hour of departure",
    ("carrier", "flight"): "flight number",
}


def _plane(column: str, text: str, low: float, high: float) -> Feature:
    return Feature(
        name=f"plane_{column}",
        kind="number",
        description=text,
        source="batch",
        minimum=low,
        maximum=high,
        nullable=True,
        lookup=Lookup("planes", ("tailnum",), f"plane_{column}"),
        stale_after_minutes=FLEET_STALE,
    )


def _weather(column: str, text: str, low: float, high: float, unit: str) -> Feature:
    return Feature(
        name=f"weather_{column}",
        kind="number",
        description=f"{text} at the origin, last observation known",
        source="batch",
        unit=unit,
        minimum=low,
        maximum=high,
        nullable=True,
        out_of_range="accept_and_count",
        aggregate=Aggregate("weather", ("origin",), "latest", 4 * HOUR, column),
        stale_after_minutes=WEATHER_STALE,
    )


def _rate(by: tuple[str, ...], days: int) -> Feature:
    return Feature(
        name=f"{'_'.join(by)}_late_rate_{days}d",
        kind="number",
        description=f"share of late arrivals among landings of the same {RATES[by]}, {days} days",
        source="batch",
        minimum=0,
        maximum=1,
        nullable=True,
        out_of_range="accept_and_count",
        aggregate=Aggregate("landings", by, "mean", days * DAY, "late"),
        stale_after_minutes=RATE_STALE,
    )


def _state(
    name: str, text: str, most: float, aggregate: Aggregate, *, least: float = 0, unit: str = ""
) -> Feature:
    return Feature(
        name=name,
        kind="number",
        description=text,
        source="stream",
        unit=unit,
        minimum=least,
        maximum=most,
        nullable=True,
        out_of_range="accept_and_count",
        aggregate=aggregate,
        stale_after_minutes=STATE_STALE,
    )


ORIGIN, CARRIER = ("origin",), ("origin", "carrier")
REQUEST = (
    Feature("departure_minute", "number", "scheduled departure, local", unit="min", minimum=0, maximum=1439),
    Feature("weekday", "number", "1 Monday to 7 Sunday, local", minimum=1, maximum=7),
    Feature("distance", "number", "great-circle distance", unit="mi", minimum=10, maximum=6000),
    Feature("scheduled_minutes", "number", "gate to gate", unit="min", minimum=15, maximum=900),
    Feature("carrier", "category", "marketing carrier, IATA code", categories=CARRIERS),
    Feature("origin", "category", "airport, IATA code", categories=ORIGINS, unknown_category="refuse"),
    Feature("dest", "category", "airport, IATA code"),
)
BATCH = (
    _plane("year", "year of manufacture", 1940, 2030),
    _plane("seats", "seats of the plane", 1, 600),
    _weather("temp", "temperature", -30, 120, "F"),
    _weather("humid", "relative humidity", 0, 100, "%"),
    _weather("wind_speed", "wind speed", 0, 100, "mph"),
    _weather("precip", "precipitation", 0, 5, "in"),
    _weather("pressure", "sea-level pressure", 950, 1060, "mbar"),
    _weather("visib", "visibility", 0, 10, "mi"),
    *(_rate(by, days) for by in RATES for days in (28, 7)),
    Feature(
        name="carrier_flight_landings_28d",
        kind="number",
        description="landings of the same flight number, 28 days: how much its share of late ones is worth",
        source="batch",
        minimum=0,
        maximum=200,
        nullable=True,
        out_of_range="accept_and_count",
        aggregate=Aggregate("landings", ("carrier", "flight"), "count", 28 * DAY),
        stale_after_minutes=RATE_STALE,
    ),
)
STREAM = (
    _state(
        "origin_scheduled_2h",
        "departures scheduled at the origin, 2 hours",
        200,
        Aggregate("schedule", ORIGIN, "count", 2 * HOUR),
    ),
    _state(
        "origin_departed_2h",
        "departures from the origin, 2 hours",
        200,
        Aggregate("departures", ORIGIN, "count", 2 * HOUR),
    ),
    _state(
        "origin_delayed_2h",
        "departures from the origin over 15 minutes late, 2 hours",
        200,
        Aggregate("departures", ORIGIN, "sum", 2 * HOUR, "late"),
    ),
    _state(
        "origin_delay_2h",
        "mean departure delay at the origin, 2 hours",
        1500,
        Aggregate("departures", ORIGIN, "mean", 2 * HOUR, "delay"),
        least=-60,
        unit="min",
    ),
    _state(
        "origin_late_share_2h",
        "share of departures from the origin over 15 minutes late, 2 hours",
        1,
        Aggregate("departures", ORIGIN, "mean", 2 * HOUR, "late"),
    ),
    _state(
        "origin_waiting",
        "flights that should have left the origin and have not, for 3 hours each",
        200,
        Aggregate("queue", ORIGIN, "sum", 0, "change"),
    ),
    _state(
        "origin_arrival_delay_3h",
        "mean arrival delay of landed flights from the origin, 3 hours",
        1500,
        Aggregate("landings", ORIGIN, "mean", 3 * HOUR, "delay"),
        least=-90,
        unit="min",
    ),
    _state(
        "carrier_origin_delayed_3h",
        "departures of the carrier from the origin over 15 minutes late, 3 hours",
        100,
        Aggregate("departures", CARRIER, "sum", 3 * HOUR, "late"),
    ),
    _state(
        "carrier_origin_delay_3h",
        "mean departure delay of the carrier at the origin, 3 hours",
        1500,
        Aggregate("departures", CARRIER, "mean", 3 * HOUR, "delay"),
        least=-60,
        unit="min",
    ),
    _state(
        "carrier_origin_waiting",
        "flights of the carrier that should have left the origin and have not, for 3 hours each",
        100,
        Aggregate("queue", CARRIER, "sum", 0, "change"),
    ),
)
CONTRACT = Contract(
    model="flights",
    target="arrives more than 15 minutes late",
    classes=("on_time", "late"),
    scores="probability",
    lead_minutes=LEAD,
    features=(*REQUEST, *BATCH, *STREAM),
)
