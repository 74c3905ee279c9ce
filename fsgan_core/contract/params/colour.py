"""Parameters of colour: OCIO config and exposure."""

from __future__ import annotations

from dataclasses import dataclass

from fsgan_core.contract.param_fields import Params, declare_number, declare_switch, declare_text


@dataclass(frozen=True)
class ColourParams(Params):
    """Converts plates to the display-like values that face analysis and networks work on."""

    config: str = declare_text(
        "",
        "OCIO config",
        "OCIO config: a file or ocio://NAME. Empty uses the environment variable OCIO, else the built-in config.",
    )
    exposure: float | None = declare_number(
        None,
        "exposure",
        "Exposure change before face analysis and networks; the result is not made brighter. Raise it for dark plates. "
        "If it is not set, it is measured on the face.",
        minimum=-20.0,
        maximum=20.0,
        unit="stops",
    )
    as_published: bool = declare_switch(
        False,
        "as published",
        "Do not change the exposure for face analysis and networks, as the authors' program does.",
    )
