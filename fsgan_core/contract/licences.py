"""Licence classes of network weights, which of them a setting allows, and the check."""

from __future__ import annotations

import os
from typing import Mapping

from fsgan_core.contract.errors import WeightsError

# From the most to the least free; a mix of weights has the last of their classes.
LICENCE_CLASSES = ("commercial", "non-commercial", "research", "unknown")
# Setting of `weights.allow` -> classes that it allows, from the most to the least permissive.
ALLOWED_LICENCES: Mapping[str, tuple[str, ...]] = {
    "any": LICENCE_CLASSES,
    "research": ("commercial", "non-commercial", "research"),
    "non-commercial": ("commercial", "non-commercial"),
    "commercial": ("commercial",),
}
LICENCE_LIMITS = tuple(ALLOWED_LICENCES)
ALLOW_VARIABLE = "FSGAN_WEIGHTS_ALLOW"  # the studio's limit, a key of ALLOWED_LICENCES


def resolve_allow(allow: str) -> tuple[str, str]:
    """Returns the stricter of `allow` and the studio's $FSGAN_WEIGHTS_ALLOW.

    Args:
        allow: A key of ALLOWED_LICENCES.

    Returns:
        The level, and the name of the setting that it came from, for messages.

    Raises:
        WeightsError: One of the two is not a key of ALLOWED_LICENCES.
    """
    _check_level("weights.allow", allow)
    studio = os.environ.get(ALLOW_VARIABLE, "").strip()
    if not studio:
        return allow, "weights.allow"
    _check_level(f"the environment variable {ALLOW_VARIABLE}", studio)
    if LICENCE_LIMITS.index(studio) > LICENCE_LIMITS.index(allow):
        return studio, f"the environment variable {ALLOW_VARIABLE}"
    return allow, "weights.allow"


def is_allowed(licence: str, allow: str = "any") -> bool:
    """Says whether weights of a licence class may be used.

    Args:
        licence: One of LICENCE_CLASSES.
        allow: A key of ALLOWED_LICENCES; the studio's limit holds if it is stricter.

    Raises:
        WeightsError: `allow` is unknown.
    """
    return licence in ALLOWED_LICENCES[resolve_allow(allow)[0]]


def check_licence(name: str, licence: str, place: str, allow: str = "any") -> None:
    """Checks that weights may be used.

    Args:
        name: Name of the weights.
        licence: Their licence class, one of LICENCE_CLASSES.
        place: Their file, for the message.
        allow: A key of ALLOWED_LICENCES.

    Raises:
        WeightsError: Their licence class is not allowed, or `allow` is unknown.
    """
    level, setting = resolve_allow(allow)
    if licence not in ALLOWED_LICENCES[level]:
        raise WeightsError(
            f"{place}: weights {name} have the licence class '{licence}', but {setting} = {level} allows only "
            f"{' and '.join(ALLOWED_LICENCES[level])}; name other weights, choose an engine without weights, or loosen "
            f"the setting if you may (`fsgan weights info {name}` shows what is known about the licence)"
        )


def _check_level(what: str, level: str) -> None:
    if level not in LICENCE_LIMITS:
        known = ", ".join(repr(one) for one in LICENCE_LIMITS)
        raise WeightsError(f"{what} is {level!r}; it must be one of {known}")
