"""What a sound model does when the airport, the weather or the timetable changes."""

import polars as pl

from training.model import Behaviour
from training.models.flights.contract import DAY

CLEAR = pl.col("weather_visib").is_between(9, 10)  # miles; the scale ends at 10

BEHAVIOURS = (
    Behaviour(
        "an hour more of delay",
        "a queue at the airport and late planes of the carrier do not make a flight punctual",
        (pl.col("origin_delay_2h") + 60, pl.col("carrier_origin_delay_3h") + 60),
        "not lower",
    ),
    Behaviour(
        "fog",
        "with a mile of visibility fewer planes land and leave in an hour",
        (pl.lit(1.0).alias("weather_visib"),),
        "not lower",
        rows=CLEAR,
    ),
    Behaviour(
        "heavy rain",
        "0.3 inches an hour slow down every runway",
        (pl.col("weather_precip") + 0.3,),
        "not lower",
        rows=pl.col("weather_precip").is_between(0, 0.1),  # inches
    ),
    Behaviour(
        "a gale",
        "25 mph more wind close runways",
        (pl.col("weather_wind_speed") + 25,),
        "not lower",
    ),
    Behaviour(
        "five minutes later in the timetable",
        "delays build up over hours; no queue knows the last digit of the schedule",
        (pl.col("departure_minute") + 5,),
        "similar",
        rows=pl.col("departure_minute") < DAY - 5,
    ),
    Behaviour(
        "half a degree warmer",
        "the thermometer is read to a degree",
        (pl.col("weather_temp") + 0.5,),
        "similar",
    ),
    Behaviour(
        "a destination never seen",
        "what training never met tells as little as what is missing",
        (pl.lit("a new airport").alias("dest"),),
        "identical",
        instead_of=(pl.lit(None, pl.String).alias("dest"),),
    ),
)
