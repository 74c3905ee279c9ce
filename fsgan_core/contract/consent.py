"""The performer's release: whether it allows a render today, and how metadata state it."""

from __future__ import annotations

import datetime
import os
from typing import Optional

from fsgan_core.contract.errors import ConsentError, ParameterError
from fsgan_core.contract.params.consent import ConsentParams
from fsgan_core.contract.safe_text import shorten_repr

REQUIRE_VARIABLE = "FSGAN_REQUIRE_CONSENT"  # the studio's rule: "1" renders nothing without a valid release


def is_consent_required() -> bool:
    """Says whether the studio renders only with a release.

    Raises:
        ParameterError: $FSGAN_REQUIRE_CONSENT is neither "0" nor "1" nor empty.
    """
    value = os.environ.get(REQUIRE_VARIABLE, "").strip()
    if value not in ("", "0", "1"):
        raise ParameterError(f"the environment variable {REQUIRE_VARIABLE} is {shorten_repr(value)}; it is 0 or 1")
    return value == "1"


def check_consent(consent: ConsentParams, today: Optional[datetime.date] = None) -> str:
    """Checks the release of a job before anything is rendered.

    Args:
        consent: The release.
        today: The day of the render; None is the machine's.

    Returns:
        A warning for the log: the release has expired, but the studio does not require one. Empty if all is well.

    Raises:
        ConsentError: The studio requires a release, and there is none, or it has expired.
        ParameterError: The last day is no date, or a scope or a last day stands without a release.

    >>> check_consent(ConsentParams("R-17", expires="2030-01-31"), datetime.date(2030, 1, 31))
    ''
    """
    is_required = is_consent_required()
    last_day = _parse_day(consent.expires)
    if not consent.reference.strip():
        if consent.scope or consent.expires:
            raise ParameterError("consent.scope and consent.expires need consent.reference, the name of the release")
        if is_required:
            raise ConsentError(
                f"this studio renders no face without a release ({REQUIRE_VARIABLE}=1); name it in consent.reference"
            )
        return ""
    if last_day is None or (today or datetime.date.today()) <= last_day:
        return ""
    name = consent.reference.strip()
    if not name.lower().startswith("release"):
        name = f"release {name}"
    message = f"the {name} expired on {last_day.isoformat()}"
    if is_required:
        raise ConsentError(f"{message}; renew it, and set consent.expires to its new last day")
    return message


def describe_consent(consent: ConsentParams) -> str:
    """States a release in one line; empty if there is none.

    >>> describe_consent(ConsentParams("R-17", "sequence 010", "2030-01-31"))
    'R-17; sequence 010; until 2030-01-31'
    """
    until = f"until {consent.expires}" if consent.expires else ""
    return "; ".join(part for part in (consent.reference.strip(), consent.scope.strip(), until) if part)


def _parse_day(text: str) -> Optional[datetime.date]:
    if not text.strip():
        return None
    try:
        return datetime.date.fromisoformat(text.strip())
    except ValueError:
        raise ParameterError(
            f"consent.expires = {shorten_repr(text)} is not a day; write it as YYYY-MM-DD, like 2027-03-31"
        ) from None
