"""Licence classes of network weights, and which of them a setting allows."""

from __future__ import annotations

from typing import Mapping

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
