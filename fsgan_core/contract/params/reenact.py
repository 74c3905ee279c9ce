"""Parameters of reenact: likeness, views, mouth, eyes and network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fsgan_core.contract.param_fields import (
    Params,
    declare_choice,
    declare_file,
    declare_integer,
    declare_number,
    declare_switch,
    declare_text_list,
)
from fsgan_core.contract.params.network import (
    FSGAN_ENGINE_ONLY,
    declare_as_published,
    declare_network,
    declare_resolution,
)


def _declare_likeness(feature: str, default: float) -> Any:
    return declare_number(
        default,
        f"likeness of {feature}",
        f"Multiplies likeness for the {feature}. 0 keeps the position and size of the {feature} in the target.",
        minimum=0.0,
        maximum=3.0,
        group="likeness",
        is_animatable=True,
    )


@dataclass(frozen=True)
class ReenactParams(Params):
    """Shows the source's face in the target's pose and expression."""

    engine: str = declare_choice(
        "auto",
        ("auto", "fsgan", "mesh"),
        "engine",
        "fsgan: the reenactment network. mesh: the source's own pixels, warped by the dense mesh. auto: fsgan if the "
        "published weights are installed or `network` names some, else mesh.",
    )
    likeness: float = declare_number(
        0.6,
        "likeness (face shape)",
        "How much of the source's own proportions the face takes over. 0 puts the features where the target's are; 1 "
        "is the source's face shape in the target's pose. The outline stays the target's. Raise it for a stronger "
        "likeness; lower it if a feature looks out of place.",
        minimum=0.0,
        maximum=1.0,
        is_animatable=True,
    )
    likeness_eyes: float = _declare_likeness("eyes", 0.3)
    likeness_nose: float = _declare_likeness("nose", 1.0)
    likeness_mouth: float = _declare_likeness("mouth", 0.3)
    likeness_brows: float = _declare_likeness("brows", 1.0)
    atlas: str = declare_file(
        "atlas",
        "Painted atlas of the source (EXR, written by `fsgan atlas` or Bake atlas). What you paint on it replaces the "
        "source's skin in every frame. Empty uses the atlas as it is computed.",
    )
    stiffness: float = declare_number(
        0.002,
        "warp stiffness",
        "How much the warp resists bending. Raise it if a feature looks bent. 0 meets every landmark exactly.",
        minimum=0.0,
        maximum=1.0,
        is_animatable=True,
    )
    inner_mouth: str = declare_choice(
        "auto",
        ("auto", "source", "target"),
        "inner mouth",
        "Whose teeth and tongue are shown. auto: the target's, which belong to what the actor says; a network that "
        "draws whole faces draws its own. Drive: the actor's own where a frame of the plate shows them, else the "
        "driver's.",
    )
    eyes: str = declare_choice(
        "target",
        ("target", "source"),
        "eyes",
        "Whose eyeballs are seen between the new lids. target: the plate's own, with its gaze and catchlights; its "
        "irises take on the source's colour. source: the source's, set to the target's gaze.",
    )
    iris: float = declare_number(
        0.7,
        "iris colour",
        "How much of the source's iris colour the plate's own eyes take on, and how far whites redder than the skin "
        "become plain. Lower it if irises look painted; 0 keeps the actor's.",
        minimum=0.0,
        maximum=1.0,
        when=("eyes", "target"),
        is_animatable=True,
    )
    keep_source_glasses: bool = declare_switch(
        False,
        "keep source's glasses",
        "The new face wears the source's glasses. Off continues the skin behind their rims and takes coloured "
        "reflections off the lenses. Glasses that are not surely found in a few frames of the source (small or "
        "blurred faces) stay.",
    )
    margin: float = declare_number(
        0.35,
        "region margin",
        "Space around the face that is rendered. Raise it if the face is cut off at the region's edge; more takes "
        "longer.",
        minimum=0.1,
        maximum=2.0,
        unit="of the face",
    )
    combine: str = declare_choice(
        "detail",
        ("detail", "barycentric", "leading"),
        "combine views",
        "How source views are combined. detail: light from all views, fine detail from the leading view. barycentric: "
        "weighted average of all views, as published; softer. leading: one view only; use it if other views leave "
        "patches of wrong light.",
        group="views",
    )
    mirror: bool = declare_switch(
        True,
        "mirror hidden half",
        "If a view is turned to one side and the target is not, shows the half of the face that the view hides as the "
        "mirror image of the other half. Turn it off if a mole or a scar appears twice. Not used by the network.",
        group="views",
    )
    exclude: tuple[str, ...] = declare_text_list(
        "exclude views",
        "Source views to leave out, as FRAME, FIRST-LAST or CLIP:FRAME. Use it for views that blink or are blurred.",
        group="views",
    )
    weights: tuple[str, ...] = declare_text_list(
        "view weights",
        "Preference for single views, as FRAME=WEIGHT or FIRST-LAST=WEIGHT. 1 is neutral; higher uses the view more.",
        group="views",
    )
    views: tuple[str, ...] = declare_text_list(
        "use views", "Use only these source views: FRAME, FIRST-LAST or CLIP:FRAME. Empty uses all.", group="views"
    )
    expression: float = declare_number(
        1.0,
        "match expression",
        "How much a similar expression and face shape counts, compared with a similar head pose, when views are "
        "chosen. Raise it if views with the wrong expression are used.",
        minimum=0.0,
        soft_maximum=4.0,
        group="views",
    )
    hold: float = declare_number(
        1.0,
        "hold views",
        "How strongly the leading view is kept from frame to frame. Raise it if the leading view flickers; lower it if "
        "the face lags behind the expression.",
        minimum=0.0,
        soft_maximum=10.0,
        group="views",
    )
    minimum_radius: float = declare_number(
        2.0,
        "view spacing",
        "If views have head poses that differ by less than this, only one of them is kept. Raise it for a long source "
        "clip with little movement.",
        minimum=0.1,
        soft_maximum=10.0,
        unit="degrees",
        group="views",
    )
    network: str = declare_network()
    resolution: int = declare_resolution()
    steps: int = declare_integer(
        1,
        "steps",
        "Number of steps in which the network turns a view to the target's pose. Raise it for large turns, with "
        "weights that were trained for several steps; each step takes as long as the first. 0 chooses by the distance "
        "between the poses.",
        minimum=0,
        maximum=8,
        group="network",
        when=FSGAN_ENGINE_ONLY,
    )
    prewarp: str = declare_choice(
        "auto",
        ("auto", "on", "off"),
        "prewarp",
        "on: the network refines the warped view. off: the network is given the view as it is. auto: as the network "
        "was trained.",
        group="network",
        when=FSGAN_ENGINE_ONLY,
    )
    detail: float = declare_number(
        1.0,
        "source detail",
        "How much fine detail of the source is added to the network's result, away from eyes and mouth. Lower it if "
        "the skin looks doubled.",
        minimum=0.0,
        maximum=1.0,
        group="network",
        when=FSGAN_ENGINE_ONLY,
        is_animatable=True,
    )
    as_published: bool = declare_as_published()
