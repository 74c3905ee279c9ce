"""Parameters of mask: what the matte covers, and its edge."""

from __future__ import annotations

from dataclasses import dataclass

from fsgan_core.contract.param_fields import Params, declare_choice, declare_integer, declare_number, declare_switch
from fsgan_core.contract.params.network import declare_as_published, declare_network, declare_resolution


@dataclass(frozen=True)
class MaskParams(Params):
    """Finds the part of the target that is replaced."""

    engine: str = declare_choice(
        "auto",
        ("auto", "fsgan", "geometric"),
        "engine",
        "fsgan: the segmentation network. geometric: the outline of the mesh, refined by colour. auto: fsgan if the "
        "published weights are installed or `network` names some, else geometric.",
    )
    forehead: float = declare_number(
        1.0,
        "forehead",
        "How far the matte reaches up the forehead: 0 ends at the brows, 1 at the hairline. Lower it if a fringe is "
        "painted over.",
        minimum=0.0,
        maximum=1.5,
        is_animatable=True,
    )
    refine: float = declare_number(
        1.0,
        "leave out hair",
        "How much of the hair and hats over forehead and temples is removed from the matte. Lower it if make-up or "
        "coloured light there is removed too.",
        minimum=0.0,
        maximum=1.0,
        is_animatable=True,
    )
    keep_glasses: bool = declare_switch(
        True,
        "keep target's glasses",
        "Keep the target's glasses in front of the new face. Off replaces them with the face, and paints over their "
        "arms at the temples. No effect in a drive: there they move with the face.",
    )
    occlusions: float = declare_number(
        1.0,
        "leave out objects",
        "How much of what covers the face (hands, a microphone, glasses that are kept) is removed from the matte. "
        "Lower it if parts of the face (make-up, a beard) are removed too. Hands are found by networks, objects by "
        "their colour.",
        minimum=0.0,
        maximum=1.0,
        is_animatable=True,
    )
    beard: str = declare_choice(
        "replace",
        ("replace", "keep"),
        "beard",
        "Jaw, chin and upper lip. replace: the new face covers them, and a beard with them. keep: the target keeps all "
        "of that zone; its lips are replaced.",
    )
    hands: bool = declare_switch(
        True,
        "hands",
        "Look for hands in front of the face and keep them. Off saves time where there are none; hands of the same "
        "colour as the face are then not found.",
    )
    mouth: bool = declare_switch(
        True, "include mouth", "Replace the inner mouth too. Off keeps the target's own teeth and tongue."
    )
    size: float = declare_number(
        0.0,
        "erode / dilate",
        "Grows (above 0) or shrinks (below 0) the matte. Grow it if a rim of the old face shows; shrink it if the new "
        "face spills over the jaw.",
        minimum=-200.0,
        maximum=200.0,
        unit="px",
        is_animatable=True,
    )
    feather: float = declare_number(
        0.07,
        "feather",
        "Width of the soft edge, measured inwards from the edge of the matte. Raise it if the edge is visible.",
        minimum=0.0,
        maximum=0.5,
        unit="of the face",
        is_animatable=True,
    )
    smooth: int = declare_integer(
        2,
        "smooth over time",
        "The matte is averaged over this many frames before and after each frame. Raise it if the edge boils; use 0 "
        "for very fast movement.",
        minimum=0,
        maximum=12,
        unit="frames",
        is_animatable=True,
    )
    network: str = declare_network()
    resolution: int = declare_resolution()
    as_published: bool = declare_as_published()
