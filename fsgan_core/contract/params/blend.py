"""Parameters of blend: light, sharpness, texture and grain of the new face."""

from __future__ import annotations

from dataclasses import dataclass

from fsgan_core.contract.param_fields import Params, declare_choice, declare_integer, declare_number
from fsgan_core.contract.params.network import declare_as_published, declare_network, declare_resolution


@dataclass(frozen=True)
class BlendParams(Params):
    """Blends the new face into the plate."""

    engine: str = declare_choice(
        "auto",
        ("auto", "fsgan", "poisson", "multiband", "over"),
        "engine",
        "fsgan: the blending network. poisson: keeps the face's gradients and the plate's values at the edge. "
        "multiband: blends light over a wide seam, detail over a narrow one; for uneven light. over: a plain soft "
        "matte; for a face that you have graded yourself. auto: fsgan if the published weights are installed or "
        "`network` names some, else poisson.",
    )
    reach: float = declare_number(
        0.06,
        "poisson reach",
        "How far into the face poisson spreads the plate's colour from the edge. Raise it if a seam shows; lower it if "
        "the face takes on a tint.",
        minimum=0.01,
        maximum=10.0,
        unit="of the face",
        when=("engine", "auto", "poisson"),
        is_animatable=True,
    )
    colour: float = declare_number(
        1.0,
        "colour match",
        "How much the face is matched to the target's light and colour. Lower it if you grade the face yourself. 0 is "
        "off.",
        minimum=0.0,
        maximum=1.0,
        is_animatable=True,
    )
    shine: float = declare_number(
        1.0,
        "shine match",
        "How much of the shine on the target's skin takes the place of the source's own. Lower it if a shiny spot "
        "looks out of place; 0 keeps the source's. Has no effect if the colour match (blend.colour) is 0.",
        minimum=0.0,
        maximum=1.0,
        is_animatable=True,
    )
    sharpness: float = declare_number(
        1.0,
        "sharpness match",
        "How much the face's sharpness is matched to the target's face. Lower it if the face gets too soft or too "
        "crisp. 0 is off.",
        minimum=0.0,
        maximum=1.0,
        is_animatable=True,
    )
    detail: float = declare_number(
        1.0,
        "skin texture",
        "How much fine skin texture (pores, grain) the face takes from the target's skin, where the source is too "
        "small or too soft to have its own. Lower it if the skin looks too rough; 0 is off.",
        minimum=0.0,
        maximum=1.0,
        is_animatable=True,
    )
    grain: float = declare_number(
        1.0,
        "grain match",
        "How much grain like the plate's is added to the face. 1 matches the plate. Lower it if the face looks noisy; "
        "0 is off.",
        minimum=0.0,
        maximum=2.0,
        is_animatable=True,
    )
    seed: int = declare_integer(
        1, "grain seed", "Seed of the grain's random pattern. Change it for another pattern.", minimum=0
    )
    mix: float = declare_number(
        1.0,
        "mix",
        "Opacity of the result: 0 is the target, 1 the full result.",
        minimum=0.0,
        maximum=1.0,
        is_animatable=True,
    )
    network: str = declare_network()
    resolution: int = declare_resolution()
    as_published: bool = declare_as_published()
