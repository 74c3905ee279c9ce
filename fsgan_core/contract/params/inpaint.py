"""Parameters of inpaint: where missing parts of the face come from."""

from __future__ import annotations

from dataclasses import dataclass

from fsgan_core.contract.param_fields import Params, declare_choice, declare_switch
from fsgan_core.contract.params.network import declare_as_published, declare_network, declare_resolution


@dataclass(frozen=True)
class InpaintParams(Params):
    """Completes the parts of the face that the source views do not show."""

    engine: str = declare_choice(
        "auto",
        ("auto", "fsgan", "fill"),
        "engine",
        "fsgan: the inpainting network. fill: a smooth continuation of the surrounding skin. auto: fsgan if the "
        "published weights are installed or `network` names some, else fill.",
    )
    other_views: bool = declare_switch(
        True,
        "other views",
        "Take missing parts from other source views before the engine fills the rest. Switch it off if those parts do "
        "not match.",
    )
    from_atlas: bool = declare_switch(
        True,
        "fill from atlas",
        "Take parts that no source view shows in this pose from the source's atlas: brows under a fringe, skin under "
        "glasses, the far cheek. Switch it off if those parts do not match.",
    )
    plate_forehead: bool = declare_switch(
        True,
        "plate's forehead",
        "Keep the plate's own forehead where every source view hides it (under a fringe or a hat). Off: like the rest "
        "of the face, the plate's bare skin shows and the rest is filled. Works with the engine fill only.",
    )
    network: str = declare_network()
    resolution: int = declare_resolution()
    as_published: bool = declare_as_published()
