"""The parameters of every stage, declared once.

Command line flags, knobs, job templates and docs/parameters.md are made from these declarations.

Units: pixels are plate pixels. A length "of the face" is a fraction of the face's width, so that a setting still fits
when the face gets larger.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Mapping

from fsgan_core.contract.licences import LICENCE_LIMITS
from fsgan_core.contract.param_fields import (
    Params,
    declare_choice,
    declare_file,
    declare_integer,
    declare_number,
    declare_point,
    declare_switch,
    declare_text,
    declare_text_list,
)

COMPRESSIONS = ("none", "rle", "zips", "zip", "piz", "pxr24", "b44", "b44a", "dwaa", "dwab")  # of EXR files
DEPTHS = ("auto", "half", "float")  # number formats of EXR files
MISSING_POLICIES = ("error", "hold", "skip")  # what a missing input frame means
INTERLACED_MODES = ("deinterlace", "keep")  # what becomes of interlaced frames of a movie
FSGAN_ENGINE_ONLY = ("engine", "auto", "fsgan")  # `when` of parameters that only the neural engine reads


def _declare_network() -> Any:
    return declare_text(
        "",
        "network",
        "Weights of the fsgan engine: a name from `fsgan weights list`, or a file. Empty uses the best installed ones.",
        group="network",
        when=FSGAN_ENGINE_ONLY,
    )


def _declare_resolution() -> Any:
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


def _declare_as_published() -> Any:
    return declare_switch(
        False,
        "as published",
        "Work as the authors' program does, without the improvements of this one. The preset as-published switches it "
        "on in every stage.",
        group="network",
    )


def _declare_likeness(feature: str) -> Any:
    return declare_number(
        1.0,
        f"likeness of {feature}",
        f"Multiplies likeness for the {feature}. 0 leaves the {feature} where the target has them.",
        minimum=0.0,
        maximum=3.0,
        group="likeness",
    )


@dataclass(frozen=True)
class AnalyseParams(Params):
    """Finds and tracks the face in a clip: detection, landmarks, head pose."""

    person: str = declare_choice(
        "largest",
        ("largest", "index", "point", "reference"),
        "person",
        "Which person to work on if the clip shows several. largest: the largest face. index: by number. "
        "point: the face nearest to a point. reference: the face most like a still.",
    )
    person_index: int = declare_integer(
        0,
        "index",
        "Number of the person; 0 is the largest face. Used if person is index.",
        minimum=0,
        when=("person", "index"),
    )
    person_point: tuple[float, float] | None = declare_point(
        "point", "A point near the face. Used if person is point.", unit="px", when=("person", "point")
    )
    person_reference: str = declare_file(
        "reference", "Image file that shows the person. Used if person is reference.", when=("person", "reference")
    )
    smooth: float = declare_number(
        1.0,
        "smoothing",
        "Smoothing of landmarks, head pose and region over time. Raise it if the face jitters; lower it if the face "
        "lags behind fast movement. 0 is off.",
        minimum=0.0,
        maximum=4.0,
    )
    gap: int = declare_integer(
        8,
        "bridge gaps",
        "If the face is lost for at most this many frames, its position is interpolated. Raise it if short occlusions "
        "break the track.",
        minimum=0,
        soft_maximum=50,
        unit="frames",
    )
    minimum_size: float = declare_number(
        32.0,
        "smallest face",
        "Faces smaller than this are ignored. Lower it for a person far from the camera; raise it to ignore people "
        "in the background.",
        minimum=0.0,
        soft_maximum=256.0,
        unit="px",
    )
    minimum_confidence: float = declare_number(
        0.15,
        "minimum confidence",
        "Detections with a lower confidence are ignored. Lower it if the face is not found; raise it if something "
        "else is taken for a face.",
        minimum=0.0,
        maximum=1.0,
    )
    detector: str = declare_choice(
        "auto",
        ("auto", "mesh", "dlib", "dlib-cnn", "sfd", "blazeface"),
        "detector",
        "Face detector. auto is mesh, the networks that come with the package. Try another one if the face is not "
        "found: sfd and blazeface are face-alignment's, dlib and dlib-cnn need packages that are not installed by "
        "default.",
    )
    landmarks: str = declare_choice(
        "auto",
        ("auto", "mesh", "hrnet", "fan", "dlib"),
        "landmarks",
        "Landmark detector. mesh: read from the dense mesh that every face has. hrnet: the published network, if its "
        "weights are installed (98 points, reduced to 68). fan: face-alignment's network. dlib: needs packages that "
        "are not installed by default. auto is hrnet if it is installed, else mesh. Other landmarks than mesh bend "
        "the mesh to them.",
    )
    pose: str = declare_choice(
        "auto",
        ("auto", "pnp", "hopenet"),
        "pose",
        "How the head pose is measured. pnp: from the mesh. hopenet: by the published network, if its weights "
        "are installed. auto is pnp.",
    )


@dataclass(frozen=True)
class ReenactParams(Params):
    """Shows the source's face in the target's pose and expression."""

    engine: str = declare_choice(
        "auto",
        ("auto", "fsgan", "mesh"),
        "engine",
        "fsgan: the reenactment network. mesh: the source's own pixels, warped by the dense mesh. "
        "auto: fsgan if its weights are installed, else mesh.",
    )
    likeness: float = declare_number(
        0.3,
        "likeness",
        "How much of the source's own proportions the face takes over. 0 meets the target's features; 1 is the "
        "source's face shape in the target's pose. The outline stays the target's. Raise it for a stronger likeness; "
        "lower it if a feature looks out of place.",
        minimum=0.0,
        maximum=1.0,
    )
    likeness_eyes: float = _declare_likeness("eyes")
    likeness_nose: float = _declare_likeness("nose")
    likeness_mouth: float = _declare_likeness("mouth")
    likeness_brows: float = _declare_likeness("brows")
    atlas: str = declare_file(
        "atlas",
        "Painted atlas of the source (EXR, written by `fsgan atlas` or Bake atlas). What you paint on it replaces the "
        "source's skin in every frame. Empty uses the atlas as it is computed.",
    )
    stiffness: float = declare_number(
        0.002,
        "stiffness",
        "How much the warp resists bending. Raise it if a feature looks bent. 0 meets every landmark exactly.",
        minimum=0.0,
        maximum=1.0,
    )
    inner_mouth: str = declare_choice(
        "auto",
        ("auto", "source", "target"),
        "inner mouth",
        "Whose teeth and tongue are shown. auto: the source's, or the target's where the source's mouth is not open "
        "enough.",
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
        "How much of the source's iris colour the plate's own eyes take on. Lower it if irises look painted; 0 keeps "
        "the actor's.",
        minimum=0.0,
        maximum=1.0,
        when=("eyes", "target"),
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
        "How source views are combined. detail: light from all views, fine detail from the leading view. "
        "barycentric: weighted average of all views, as published; softer. leading: one view only; use it if "
        "other views leave patches of wrong light.",
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
        "How strongly the leading view is kept from frame to frame. Raise it if the leading view flickers; lower it "
        "if the face lags behind the expression.",
        minimum=0.0,
        soft_maximum=10.0,
        group="views",
    )
    minimum_radius: float = declare_number(
        2.0,
        "view spacing",
        "Of views whose head poses are closer than this, one is kept in the appearance map. Raise it for a long "
        "source clip with little movement.",
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
        "Number of steps in which the network turns a view to the target's pose. Raise it for large turns; each step "
        "takes as long as the first. 0 chooses by the distance between the poses.",
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
        "detail",
        "How much fine detail of the source is added to the network's result, away from eyes and mouth. Lower it if "
        "the skin looks doubled.",
        minimum=0.0,
        maximum=1.0,
        group="network",
        when=FSGAN_ENGINE_ONLY,
    )
    as_published: bool = _declare_as_published()


@dataclass(frozen=True)
class MaskParams(Params):
    """Finds the part of the target that is replaced."""

    engine: str = declare_choice(
        "auto",
        ("auto", "fsgan", "geometric"),
        "engine",
        "fsgan: the segmentation network. geometric: the outline of the mesh, refined by colour. "
        "auto: fsgan if its weights are installed, else geometric.",
    )
    forehead: float = declare_number(
        1.0,
        "forehead",
        "How far the matte reaches up the forehead: 0 ends at the brows, 1 at the hairline. Lower it if a fringe is "
        "painted over.",
        minimum=0.0,
        maximum=1.5,
    )
    refine: float = declare_number(
        1.0,
        "refine to picture",
        "How much of the hair and hats over the face is removed from the matte. Lower it if a beard, make-up or "
        "coloured light is removed too.",
        minimum=0.0,
        maximum=1.0,
    )
    keep_glasses: bool = declare_switch(
        False, "keep glasses", "Keep the target's glasses in front of the new face. Off replaces them with the face."
    )
    occlusions: float = declare_number(
        1.0,
        "occlusions",
        "How much of what covers the face (hands, a microphone) is removed from the matte. Lower it if parts of the "
        "face are removed too. Hands are found by networks, objects by their colour.",
        minimum=0.0,
        maximum=1.0,
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
        "Look for hands in front of the face and keep them. Off saves time where there are none; hands are then found "
        "by their colour only.",
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
    )
    feather: float = declare_number(
        0.07,
        "feather",
        "Width of the soft edge, measured inwards from the edge of the matte. Raise it if the edge is visible.",
        minimum=0.0,
        maximum=0.5,
        unit="of the face",
    )
    smooth: int = declare_integer(
        2,
        "smooth over time",
        "Number of frames before and after that the matte is averaged with. Raise it if the edge boils; use 0 for "
        "very fast movement.",
        minimum=0,
        maximum=12,
        unit="frames",
    )
    network: str = _declare_network()
    resolution: int = _declare_resolution()
    as_published: bool = _declare_as_published()


@dataclass(frozen=True)
class InpaintParams(Params):
    """Completes the parts of the face that the source views do not show."""

    engine: str = declare_choice(
        "auto",
        ("auto", "fsgan", "fill"),
        "engine",
        "fsgan: the inpainting network. fill: a smooth continuation of the surrounding skin. auto: fsgan if its "
        "weights are installed, else fill.",
    )
    other_views: bool = declare_switch(
        True,
        "other views",
        "Take missing parts from other source views before the engine fills the rest. Switch it off if those parts "
        "do not match.",
    )
    from_atlas: bool = declare_switch(
        True,
        "atlas",
        "Take parts that no source view shows in this pose from the source's atlas: brows under a fringe, skin under "
        "glasses, the far cheek. Switch it off if those parts do not match.",
    )
    plate_forehead: bool = declare_switch(
        True,
        "plate's forehead",
        "Keep the plate's own forehead where every source view hides it (under a fringe or a hat). Off lets the "
        "engine fill it. Only the fill engine uses it.",
    )
    network: str = _declare_network()
    resolution: int = _declare_resolution()
    as_published: bool = _declare_as_published()


@dataclass(frozen=True)
class BlendParams(Params):
    """Blends the new face into the plate."""

    engine: str = declare_choice(
        "auto",
        ("auto", "fsgan", "poisson", "multiband", "over"),
        "engine",
        "fsgan: the blending network. poisson: keeps the face's gradients and the plate's values at the edge. "
        "multiband: blends light over a wide seam, detail over a narrow one; for uneven light. over: a plain soft "
        "matte; for a face that you have graded yourself. auto: fsgan if its weights are installed, else poisson.",
    )
    reach: float = declare_number(
        0.06,
        "poisson reach",
        "How far into the face poisson spreads the difference at the edge. Raise it if a seam shows; lower it if the "
        "face takes on a tint.",
        minimum=0.01,
        maximum=10.0,
        unit="of the face",
        when=("engine", "auto", "poisson"),
    )
    colour: float = declare_number(
        1.0,
        "colour match",
        "How much the face is matched to the target's light and colour. Lower it if you grade the face yourself. "
        "0 is off.",
        minimum=0.0,
        maximum=1.0,
    )
    shine: float = declare_number(
        1.0,
        "shine",
        "How much of the shine on the target's skin takes the place of the source's own. Lower it if a shiny spot "
        "looks out of place; 0 keeps the source's. Used with colour match.",
        minimum=0.0,
        maximum=1.0,
    )
    sharpness: float = declare_number(
        1.0,
        "sharpness match",
        "How much the face's sharpness is matched to the target's face. Lower it if the face gets too soft or too "
        "crisp. 0 is off.",
        minimum=0.0,
        maximum=1.0,
    )
    detail: float = declare_number(
        1.0,
        "skin texture",
        "How much fine skin texture (pores, grain) the face takes from the target's skin, where the source is too "
        "small or too soft to have its own. Lower it if the skin looks too rough; 0 is off.",
        minimum=0.0,
        maximum=1.0,
    )
    grain: float = declare_number(
        1.0,
        "grain match",
        "How much grain like the plate's is added to the face. 1 matches the plate. Lower it if the face looks noisy; "
        "0 is off.",
        minimum=0.0,
        maximum=2.0,
    )
    seed: int = declare_integer(
        1, "grain seed", "Seed of the grain's random pattern. Change it for another pattern.", minimum=0
    )
    mix: float = declare_number(
        1.0, "mix", "Opacity of the result: 0 is the target, 1 the full result.", minimum=0.0, maximum=1.0
    )
    network: str = _declare_network()
    resolution: int = _declare_resolution()
    as_published: bool = _declare_as_published()


@dataclass(frozen=True)
class DriveParams(Params):
    """Gives the plate's own actor another performer's expression."""

    brows: float = declare_number(
        1.0,
        "brows",
        "How much of the driver's brow movement is used. 0 keeps the actor's own; above 1 exaggerates.",
        minimum=0.0,
        maximum=2.0,
    )
    eyes: float = declare_number(
        1.0,
        "eyes",
        "How much of the driver's eyelid movement is used. 0 keeps the actor's own; above 1 exaggerates.",
        minimum=0.0,
        maximum=2.0,
    )
    mouth: float = declare_number(
        1.0,
        "mouth",
        "How much of the driver's lip movement is used. 0 keeps the actor's own; above 1 exaggerates.",
        minimum=0.0,
        maximum=2.0,
    )
    jaw: float = declare_number(
        1.0,
        "jaw",
        "How much the chin moves with the driver's jaw. 0 keeps the actor's own; above 1 exaggerates.",
        minimum=0.0,
        maximum=2.0,
    )
    pose: float = declare_number(
        0.0,
        "head pose",
        "How much of the driver's head movement is used, measured from the driver's mean pose. 0 keeps the actor's "
        "own. Raise it with care: large turns are limited.",
        minimum=0.0,
        maximum=1.0,
    )
    offset: float = declare_number(
        0.0,
        "time offset",
        "Frame of the driver that belongs to the plate's first frame, counted from the driver's first frame. Change "
        "it to slip the performance in time.",
        unit="frames",
    )
    speed: float = declare_number(
        1.0,
        "retime",
        "Driver frames per plate frame. 2 plays the performance twice as fast, 0.5 at half speed.",
        minimum=0.01,
        maximum=100.0,
    )
    rest: int | None = declare_integer(
        None,
        "driver at rest",
        "Frame in which the driver's face is relaxed. Empty finds it automatically. Set it if the driver smiles or "
        "frowns through the whole clip.",
        unit="frame",
    )
    plate_rest: int | None = declare_integer(
        None,
        "actor at rest",
        "Frame in which the actor's face is relaxed. Empty finds it automatically. Set it if the actor smiles or "
        "frowns through the whole plate.",
        unit="frame",
    )


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
        "Exposure change before face analysis and networks; the result is not made brighter. Raise it for dark "
        "plates. Empty measures it on the face.",
        minimum=-20.0,
        maximum=20.0,
        unit="stops",
    )
    as_published: bool = declare_switch(
        False,
        "as published",
        "Do not change the exposure for face analysis and networks, as the authors' program does.",
    )


@dataclass(frozen=True)
class WeightsParams(Params):
    """Sets which network weights may be used, and the precision of networks."""

    allow: str = declare_choice(
        "any",
        LICENCE_LIMITS,
        "licences allowed",
        "Which weights may be used, by licence class. commercial: only weights cleared for commercial work. "
        "non-commercial: also weights whose licence excludes commercial work. research: also weights for research "
        "only. any: all weights, even if their licence is unknown.",
    )
    precision: str = declare_choice(
        "auto",
        ("auto", "fp32", "bf16", "fp16"),
        "precision",
        "Number format in which networks compute. auto: 16 bits where this machine is faster with it. Choose fp32 "
        "if results from different machines must match closely.",
    )


@dataclass(frozen=True)
class OutputParams(Params):
    """Sets how frames are written."""

    compression: str = declare_choice(
        "zip",
        COMPRESSIONS,
        "compression",
        "Compression of the EXR files. none, rle, zips, zip and piz are lossless.",
    )
    depth: str = declare_choice(
        "auto",
        DEPTHS,
        "bit depth",
        "Number format of the pixels. auto: the same as the target's file, or half if the target is not an EXR.",
    )
    layers: str = declare_choice(
        "result",
        ("result", "all"),
        "layers",
        "result: the final picture only. all: also the reenacted face, the completed face, mattes, confidence and "
        "STMap as layers.",
    )
    missing: str = declare_choice(
        "error",
        MISSING_POLICIES,
        "missing frames",
        "What to do if an input frame is missing. error: stop. hold: use the frame before it. skip: write no frame.",
    )
    interlaced: str = declare_choice(
        "deinterlace",
        INTERLACED_MODES,
        "interlaced movies",
        "What to do with interlaced frames of a movie. deinterlace: make a progressive frame of each. keep: leave both "
        "fields in it.",
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

# Other names under which a parameter may be set.
PARAMETER_ALIASES: Mapping[str, str] = {"blend.method": "blend.engine"}
