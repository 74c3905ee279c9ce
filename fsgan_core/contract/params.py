"""The parameters of every stage, declared once.

Units: pixels are of the plate; a length given "of the face" is a share of the face's width, so that a
setting holds when the face grows. Command line flags, knobs and reference pages are made from here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping

from fsgan_core.contract.param_fields import (
    Params,
    declare_choice,
    declare_integer,
    declare_number,
    declare_point,
    declare_switch,
    declare_text,
    declare_text_list,
)

FSGAN_ENGINE_ONLY = ("engine", "auto", "fsgan")  # what counts for the networks alone


def _declare_network() -> Any:
    return declare_text(
        "",
        "network",
        "Weights of the fsgan engine: a name from `fsgan weights list`, or a file. Empty: the best that is installed.",
        group="network",
        when=FSGAN_ENGINE_ONLY,
    )


def _declare_resolution() -> Any:
    return declare_integer(
        0,
        "working resolution",
        "Side of the square that the network sees; 0: as it was trained (256 as published).",
        minimum=0,
        maximum=1024,
        multiple=32,
        unit="px",
        group="network",
        when=FSGAN_ENGINE_ONLY,
    )


@dataclass(frozen=True)
class AnalyseParams(Params):
    """Who is where in a clip: detection, landmarks, pose, tracks."""

    person: str = declare_choice(
        "largest",
        ("largest", "index", "point", "reference"),
        "person",
        "Whom to work on: the largest face, a number, the one nearest to a point, "
        "or the one most like a reference still.",
    )
    person_index: int = declare_integer(
        0, "index", "Number of the person, largest first, with person = index.", minimum=0, when=("person", "index")
    )
    person_point: tuple[float, float] | None = declare_point(
        "point", "A point near the face, with person = point.", unit="px", when=("person", "point")
    )
    person_reference: str = declare_text(
        "", "reference", "A still of the person, with person = reference.", when=("person", "reference")
    )
    smooth: float = declare_number(
        1.0,
        "smoothing",
        "Scales the smoothing over time of landmarks, pose and region; 0 is off.",
        minimum=0.0,
        maximum=4.0,
    )
    gap: int = declare_integer(
        8,
        "bridge gaps",
        "A face that is lost for up to this many frames is interpolated.",
        minimum=0,
        soft_maximum=50,
        unit="frames",
    )
    minimum_size: float = declare_number(
        32.0, "smallest face", "Smaller faces are ignored.", minimum=0.0, soft_maximum=256.0, unit="px"
    )
    minimum_confidence: float = declare_number(
        0.15, "confidence", "Detections that are less sure are ignored.", minimum=0.0, maximum=1.0
    )
    detector: str = declare_choice(
        "auto",
        ("auto", "dlib", "dlib-cnn", "sfd", "blazeface"),
        "detector",
        "What finds faces. auto: the best that is installed; dlib works offline.",
    )
    landmarks: str = declare_choice(
        "auto",
        ("auto", "hrnet", "fan", "dlib"),
        "landmarks",
        "What places the landmarks. hrnet: the published 98, from which the 68 are taken, once its "
        "weights are installed; fan: face-alignment's 68; dlib: 68, works offline.",
    )
    pose: str = declare_choice(
        "auto",
        ("auto", "pnp", "hopenet"),
        "pose",
        "What measures the head's pose. pnp: from the landmarks; hopenet: the published network, once "
        "its weights are installed.",
    )


@dataclass(frozen=True)
class ReenactParams(Params):
    """The source's face in the target's pose and expression."""

    engine: str = declare_choice(
        "auto",
        ("auto", "fsgan", "warp"),
        "engine",
        "fsgan: the reenactment network; warp: the source's pixels, warped to the target's landmarks.",
    )
    likeness: float = declare_number(
        0.0,
        "likeness",
        "How far the face keeps the source's own proportions: 0 meets the "
        "target's landmarks exactly, 1 is the source's shape in the target's pose.",
        minimum=0.0,
        maximum=1.5,
    )
    recognition: float = declare_number(
        1.0,
        "recognition",
        "How far features move, by a few millimetres and alike in every "
        "frame, to where the source is recognised; above 0, views in which it is lead. Both "
        "are found once for the two clips. 0 is off and saves that time.",
        minimum=0.0,
        maximum=1.5,
    )
    recognition_file: str = declare_text(
        "",
        "recognition file",
        "A file (.json) that holds where, and in which views, the "
        "source is recognised; it is written if it is not there. Empty: kept in the cache.",
    )
    stiffness: float = declare_number(
        0.008,
        "stiffness",
        "Reluctance of the warp to bend: higher keeps features whole, 0 meets every landmark.",
        minimum=0.0,
        maximum=1.0,
    )
    inner_mouth: str = declare_choice(
        "auto",
        ("auto", "source", "target"),
        "inner mouth",
        "Whose teeth and tongue. auto: the target's where the source's mouth is not open enough.",
    )
    margin: float = declare_number(
        0.35, "region margin", "Space around the face in the region.", minimum=0.1, maximum=2.0, unit="of the face"
    )
    combine: str = declare_choice(
        "detail",
        ("detail", "barycentric", "leading"),
        "combine views",
        "How the views are put together. detail: light from all by barycentric weights, detail from "
        "the leading one; barycentric: all by weight; leading: one view alone.",
        group="views",
    )
    exclude: tuple[str, ...] = declare_text_list(
        "exclude views", "Source views to leave out, as FRAME, FIRST-LAST or CLIP:FRAME.", group="views"
    )
    weights: tuple[str, ...] = declare_text_list(
        "view weights",
        "Preference of single views, as FRAME=WEIGHT or FIRST-LAST=WEIGHT (1 is neutral).",
        group="views",
    )
    views: tuple[str, ...] = declare_text_list(
        "use views", "Source views to use, as FRAME, FIRST-LAST or CLIP:FRAME; empty is all.", group="views"
    )
    expression: float = declare_number(
        1.0,
        "match expression",
        "How much a view's likeness in expression and shape counts against its likeness in pose.",
        minimum=0.0,
        soft_maximum=4.0,
        group="views",
    )
    hold: float = declare_number(
        1.0,
        "hold views",
        "Reluctance to change the leading view from frame to frame.",
        minimum=0.0,
        soft_maximum=10.0,
        group="views",
    )
    mirror: bool = declare_switch(
        True,
        "mirrored views",
        "Where no view looks the target's way, one that looks the other way "
        "may stand in, left for right: moles, partings and light change sides.",
        group="views",
    )
    minimum_radius: float = declare_number(
        2.0,
        "view spacing",
        "Views nearer to each other than this share a cell of the appearance map.",
        minimum=0.1,
        soft_maximum=10.0,
        unit="degrees",
        group="views",
    )
    network: str = _declare_network()
    resolution: int = _declare_resolution()
    steps: int = declare_integer(
        1,
        "steps",
        "The network goes from a view's pose to the target's in so many steps; 0: the farther the poses, the more.",
        minimum=0,
        maximum=8,
        group="network",
        when=FSGAN_ENGINE_ONLY,
    )
    prewarp: str = declare_choice(
        "auto",
        ("auto", "on", "off"),
        "prewarp",
        "Whether the network refines the warped view instead of the view itself. auto: as it was trained.",
        group="network",
        when=FSGAN_ENGINE_ONLY,
    )
    detail: float = declare_number(
        1.0,
        "detail",
        "How much of the source's fine detail is added to the network's picture, away from eyes and mouth.",
        minimum=0.0,
        maximum=1.0,
        group="network",
        when=FSGAN_ENGINE_ONLY,
    )


@dataclass(frozen=True)
class MaskParams(Params):
    """What of the target is replaced."""

    engine: str = declare_choice(
        "auto",
        ("auto", "fsgan", "geometric"),
        "engine",
        "fsgan: the segmentation network; geometric: landmarks, refined to the picture.",
    )
    forehead: float = declare_number(
        1.0, "forehead", "How far up the face reaches; 1 is the hairline, 0 the brows.", minimum=0.0, maximum=1.5
    )
    refine: float = declare_number(
        1.0, "refine to picture", "How much of what is not skin is taken out.", minimum=0.0, maximum=1.0
    )
    keep_glasses: bool = declare_switch(False, "keep glasses", "The target's glasses stay in front of the new face.")
    occlusions: float = declare_number(
        1.0,
        "occlusions",
        "How much of what is in front of the face (hands, hair, a microphone) is taken out.",
        minimum=0.0,
        maximum=1.0,
    )
    mouth: bool = declare_switch(True, "include mouth", "Whether the inner mouth is replaced too.")
    size: float = declare_number(
        0.0, "erode / dilate", "Grows (positive) or shrinks the matte.", minimum=-200.0, maximum=200.0, unit="px"
    )
    feather: float = declare_number(
        0.07,
        "feather",
        "Width of the matte's soft edge, inside the face.",
        minimum=0.0,
        maximum=0.5,
        unit="of the face",
    )
    smooth: int = declare_integer(
        2,
        "smooth over time",
        "Neighbouring frames on either side that the matte is averaged with.",
        minimum=0,
        maximum=12,
        unit="frames",
    )
    network: str = _declare_network()
    resolution: int = _declare_resolution()


@dataclass(frozen=True)
class InpaintParams(Params):
    """What the views do not show."""

    engine: str = declare_choice(
        "auto",
        ("auto", "fsgan", "fill"),
        "engine",
        "fsgan: the inpainting network; fill: from other views first, then by a smooth extension.",
    )
    other_views: bool = declare_switch(True, "other views", "Look for the missing parts in other views first.")
    plate_forehead: bool = declare_switch(
        True,
        "plate's forehead",
        "Above the brows, what no view shows (a fringe, a hat over it) stays the plate's own; off: it is made up.",
    )
    network: str = _declare_network()
    resolution: int = _declare_resolution()


@dataclass(frozen=True)
class BlendParams(Params):
    """The new face seated in the plate."""

    engine: str = declare_choice(
        "auto",
        ("auto", "fsgan", "poisson", "multiband", "over"),
        "method",
        "fsgan: the blending network; poisson: gradient domain; multiband: Laplacian pyramid; over: a "
        "plain soft matte.",
    )
    reach: float = declare_number(
        0.06,
        "poisson reach",
        "How far into the face poisson carries what differs at the edge.",
        minimum=0.01,
        maximum=10.0,
        unit="of the face",
        when=("engine", "auto", "poisson"),
    )
    colour: float = declare_number(
        1.0, "colour match", "How much the source's light is matched to the target's.", minimum=0.0, maximum=1.0
    )
    sharpness: float = declare_number(
        1.0, "sharpness match", "How much the face's sharpness is matched to the plate's.", minimum=0.0, maximum=1.0
    )
    grain: float = declare_number(
        1.0, "grain match", "How much of the plate's own grain is added.", minimum=0.0, maximum=2.0
    )
    seed: int = declare_integer(1, "grain seed", "Another seed, another grain.", minimum=0)
    mix: float = declare_number(1.0, "mix", "0 is the target, 1 the result.", minimum=0.0, maximum=1.0)
    network: str = _declare_network()
    resolution: int = _declare_resolution()


@dataclass(frozen=True)
class DriveParams(Params):
    """Another performer's expression for the plate's own actor."""

    brows: float = declare_number(1.0, "brows", "Amount of the driver's brows.", minimum=0.0, maximum=2.0)
    eyes: float = declare_number(1.0, "eyes", "Amount of the driver's lids.", minimum=0.0, maximum=2.0)
    mouth: float = declare_number(1.0, "mouth", "Amount of the driver's lips.", minimum=0.0, maximum=2.0)
    jaw: float = declare_number(1.0, "jaw", "Amount of the driver's jaw.", minimum=0.0, maximum=2.0)
    pose: float = declare_number(
        0.0, "head pose", "Amount of the driver's head turn, relative to its own mean.", minimum=0.0, maximum=1.0
    )
    offset: float = declare_number(
        0.0,
        "time offset",
        "The driver's frame that meets the plate's first one, counted from its own first.",
        unit="frames",
    )
    speed: float = declare_number(1.0, "retime", "Driver frames per plate frame.", minimum=0.01, maximum=100.0)
    rest: int | None = declare_integer(
        None,
        "driver at rest",
        "A frame in which the driver's face is at rest; empty: found over the clip.",
        unit="frame",
    )
    plate_rest: int | None = declare_integer(
        None,
        "actor at rest",
        "A frame in which the plate's actor's face is at rest; empty: found over the clip.",
        unit="frame",
    )


@dataclass(frozen=True)
class ColourParams(Params):
    """How pixels reach the display-like values that analysis and networks see."""

    config: str = declare_text("", "OCIO config", "A path or ocio://NAME; empty: $OCIO, else the built-in default.")
    exposure: float | None = declare_number(
        None,
        "exposure",
        "Stops added before the curve; empty: measured on the face.",
        minimum=-20.0,
        maximum=20.0,
        unit="stops",
    )


@dataclass(frozen=True)
class WeightsParams(Params):
    """Which network weights may be used, and how networks compute."""

    allow: str = declare_choice(
        "any",
        ("any", "research", "non-commercial", "commercial"),
        "licences allowed",
        "Weights under a less free licence are refused; any: unknown ones too.",
    )
    precision: str = declare_choice(
        "auto",
        ("auto", "fp32", "bf16", "fp16"),
        "precision",
        "Of the networks' arithmetic. auto: 16 bit where the machine is faster with it.",
    )


@dataclass(frozen=True)
class OutputParams(Params):
    """How frames are written."""

    compression: str = declare_choice(
        "zip",
        ("none", "rle", "zips", "zip", "piz", "pxr24", "b44", "b44a", "dwaa", "dwab"),
        "compression",
        "EXR compression.",
    )
    depth: str = declare_choice(
        "auto",
        ("auto", "half", "float"),
        "bit depth",
        "auto: as the target for the picture, half for a target that is not EXR.",
    )
    layers: str = declare_choice(
        "result",
        ("result", "all"),
        "layers",
        "all: raw reenactment, completed face, mattes, confidence and STMap beside the picture.",
    )
    missing: str = declare_choice(
        "error",
        ("error", "hold", "skip"),
        "missing frames",
        "What a missing input frame means: an error, the frame before it, or no output frame.",
    )


STAGE_PARAMS: Mapping[str, type[Params]] = {
    "analyse": AnalyseParams,
    "reenact": ReenactParams,
    "mask": MaskParams,
    "inpaint": InpaintParams,
    "blend": BlendParams,
    "drive": DriveParams,
    "colour": ColourParams,
    "weights": WeightsParams,
    "output": OutputParams,
}

# Other names for a parameter, as people say them.
PARAMETER_ALIASES: Mapping[str, str] = {"blend.method": "blend.engine"}
