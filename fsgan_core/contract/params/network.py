"""Parameters that every stage with a published network has: weights, resolution, as published."""

from __future__ import annotations

from typing import Any

from fsgan_core.contract.param_fields import declare_integer, declare_switch, declare_text

FSGAN_ENGINE_ONLY = ("engine", "auto", "fsgan")  # `when` of parameters that only the neural engine reads


def declare_network() -> Any:
    """Declares the weights of the fsgan engine."""
    return declare_text(
        "",
        "network",
        "Weights of the fsgan engine: a name from `fsgan weights list`, or a file. Empty uses the best installed ones.",
        group="network",
        when=FSGAN_ENGINE_ONLY,
    )


def declare_resolution() -> Any:
    """Declares the size at which the network works."""
    return declare_integer(
        0,
        "working resolution",
        "Side of the square image that the network works on. 0 uses the size it was trained at (256 for the published "
        "networks). Higher shows more detail, but takes longer and can look wrong far from the trained size.",
        minimum=0,
        maximum=1024,
        multiple=32,
        unit="px",
        group="network",
        when=FSGAN_ENGINE_ONLY,
    )


def declare_as_published() -> Any:
    """Declares the switch that leaves out this project's improvements."""
    return declare_switch(
        False,
        "as published",
        "Work as the authors' program does, without the improvements of this one. The preset as-published switches it "
        "on in every stage.",
        group="network",
    )
