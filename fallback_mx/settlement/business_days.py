"""Business days by country: no weekend and no public holiday there, and days worked instead of others."""

from __future__ import annotations

from fallback_mx.sla.days import BusinessDay

_SATURDAY = 5


def business_days(country: str) -> BusinessDay:
    """Of a country such as "CZ" or a part of one such as "DE-BY"; "" knows weekends and no holidays.

    Raises ValueError where no such country is known.
    """
    if not country:
        return lambda day: day.weekday() < _SATURDAY
    # It takes a while to import, and most commands do not ask.
    import holidays

    code, _, part = country.partition("-")
    try:
        calendar = holidays.country_holidays(code, subdiv=part or None)
    except NotImplementedError as error:
        raise ValueError(f"no holidays are known of {country}") from error
    return calendar.is_working_day
