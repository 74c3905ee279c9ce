"""Makes the Nuke files around the networks: gizmos, the script that makes the .cat files, the menu's cat.json.

Standard library only. All words are plain for Nuke's Tcl, or quoted here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

__all__ = [
    "NODES",
    "CatNode",
    "GizmoKnob",
    "make_cat_json",
    "make_creator_script",
    "make_gizmo",
    "make_init_py",
    "replace_resolution",
]

FLOAT, INTEGER, CHOICE, CHECK, TAB, TEXT = 7, 3, 4, 6, 20, 26  # knob types of addUserKnob
# The first Nuke with a torch that loads the files (1.12; tested with 1.12, 2.1.1 and 2.7.1).
OLDEST_NUKE = 14.0
RGB, RGBA = ("rgba.red", "rgba.green", "rgba.blue"), ("rgba.red", "rgba.green", "rgba.blue", "rgba.alpha")
# The Inference node takes only certain channel names; these three motion channels carry a second picture.
SECOND_PICTURE = ("forward.u", "forward.v", "backward.u")


@dataclass(frozen=True)
class GizmoKnob:
    """A knob of the gizmo. The Inference node inside follows it and sets the model's attribute of the same name.

    Attributes:
        name: Name of the knob and the attribute.
        kind: Knob type.
        value: Default, as text.
        label: Label in the panel.
        tooltip: What it does.
        extra: Further words of addUserKnob, such as a slider's range.
    """

    name: str
    kind: int
    value: str
    label: str
    tooltip: str
    extra: str = ""


@dataclass(frozen=True)
class CatNode:
    """One network as a node.

    Attributes:
        name: Class name of the gizmo.
        title: Name in menus.
        inputs: Name of each input, and how its channels are renamed, as (from, to) pairs. The first input keeps its
            channels.
        channels_in: Channels that the model takes.
        help: What the node does.
        knobs: Its knobs.
    """

    name: str
    title: str
    inputs: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    channels_in: tuple[str, ...]
    help: str
    knobs: tuple[GizmoKnob, ...] = ()


EXPOSURE_KNOB = GizmoKnob(
    "exposure",
    FLOAT,
    "0",
    "exposure",
    "Stops that bring the face to a normal exposure for the network. The result is at the original exposure.",
    "R -6 6",
)
PRIMARIES_KNOB = GizmoKnob(
    "primaries",
    CHOICE,
    "Rec.709",
    "working space",
    "Primaries of the script's working space. For other spaces, convert before and after the node.",
    "M {Rec.709 ACEScg}",
)
RESOLUTION_KNOB = GizmoKnob(
    "resolution",
    INTEGER,
    "256",
    "resolution",
    "Longer side of the picture that the network sees, in pixels, as in training. 0: the picture's own size.",
)
HARD_KNOB = GizmoKnob(
    "hard",
    CHECK,
    "false",
    "hard",
    "Each pixel belongs to the most likely class only, instead of a share of each.",
    "+STARTLINE",
)
SHARED_KNOBS = (EXPOSURE_KNOB, PRIMARIES_KNOB, RESOLUTION_KNOB)

MASK_NODE = CatNode(
    "FSGAN_MaskCat",
    "Mask",
    (("picture", ()),),
    RGB,
    "Finds face (red and alpha), hair (green) and background (blue) in a face crop: one upright face in a square about "
    "1.2 times its height.",
    (*SHARED_KNOBS, HARD_KNOB),
)
INPAINT_NODE = CatNode(
    "FSGAN_InpaintCat",
    "Inpaint",
    (("reenacted", ()), ("mask", (("rgba.alpha", "mask.a"),))),
    (*RGBA, "mask.a"),
    "Completes the reenacted face (premultiplied) up to the target's face matte, which is the alpha of the second "
    "input and of the result.",
    SHARED_KNOBS,
)
BLEND_NODE = CatNode(
    "FSGAN_BlendCat",
    "Blend",
    (("completed", ()), ("target", tuple(zip(RGB, SECOND_PICTURE, strict=True)))),
    (*RGBA, *SECOND_PICTURE),
    "Blends the completed face, with the target's face matte as its alpha, into the target. The alpha of the result is "
    "the soft matte; where it is 0, the target does not change.",
    SHARED_KNOBS,
)
REENACT_NODE = CatNode(
    "FSGAN_ReenactCat",
    "Reenact",
    (("source", ()), ("driver", tuple(zip(RGB, SECOND_PICTURE, strict=True)))),
    (*RGB, *SECOND_PICTURE),
    "Draws the face of the source in the pose and expression of the driver. A network in the node finds the driver's "
    "landmarks. Both inputs are face crops of the same size.",
    SHARED_KNOBS,
)
REENACT_POINTS_NODE = CatNode(
    "FSGAN_ReenactPointsCat",
    "Reenact by landmarks",
    (("source", ()), ("landmarks", (("forward.u", "forward.u"), ("forward.v", "forward.v")))),
    (*RGB, "forward.u", "forward.v"),
    "Draws the face of the source in the pose and expression of given landmarks. In the second input, forward.u and "
    "forward.v of column k, in every row, are x and y of landmark k, 0 to 1 from the crop's upper left corner.",
    SHARED_KNOBS,
)
NODES = (MASK_NODE, INPAINT_NODE, BLEND_NODE, REENACT_NODE, REENACT_POINTS_NODE)


def replace_resolution(node: CatNode, resolution: int) -> CatNode:
    """Sets the default of the resolution knob."""
    return replace(
        node,
        knobs=tuple(replace(knob, value=str(resolution)) if knob is RESOLUTION_KNOB else knob for knob in node.knobs),
    )


def make_gizmo(node: CatNode) -> str:
    """Makes the .gizmo text of a node: its knobs, its inputs combined into one picture, and the Inference node."""
    lines = [
        "#! FSGAN, made by fsgan export cattery",
        "Gizmo {",
        f" help {quote_tcl(node.help)}",
        f" addUserKnob {{{TAB} {node.name}_tab l {quote_tcl(node.title)}}}",
        f' addUserKnob {{{CHECK} useGPU l "use GPU if available" +STARTLINE}}',
        " useGPU true",
        f' addUserKnob {{{CHECK} half l "half precision" t "Faster on GPUs, with less memory; slightly less precise." '
        "+STARTLINE}",
    ]
    for knob in node.knobs:
        more = f" {knob.extra}" if knob.extra else ""
        lines += [
            f" addUserKnob {{{knob.kind} {knob.name} l {quote_tcl(knob.label)} t {quote_tcl(knob.tooltip)}{more}}}",
            f" {knob.name} {quote_tcl(knob.value)}",
        ]
    lines += [f' addUserKnob {{{TEXT} about l "" +STARTLINE T "Manual: docs/cattery.md of FSGAN"}}', "}"]
    for number, (name, _) in enumerate(node.inputs):
        place = [f"  number {number}"] if number else []
        lines += [" Input {", "  inputs 0", f"  name {name}", *place, " }", f"set IN_{name} [stack 0]"]
    first, *rest = node.inputs
    lines.append(f"push $IN_{first[0]}")
    for number, (name, pairs) in enumerate(rest):
        copies = [f"  from{index} {source}\n  to{index} {target}" for index, (source, target) in enumerate(pairs)]
        # A Copy takes the picture underneath from the top of the stack, what is copied from below it.
        lines += [
            f"set BELOW{number} [stack 0]",
            f"push $IN_{name}",
            f"push $BELOW{number}",
            " Copy {",
            "  inputs 2",
            *copies,
            f"  name Copy{number + 1}",
            " }",
        ]
    # The model gets the whole format, black outside the picture's bounding box.
    lines += [
        " Crop {",
        "  box {0 0 {width} {height}}",
        "  crop false",
        "  name Whole",
        " }",
        " Inference {",
        "  useGPUIfAvailable {{parent.useGPU}}",
        "  halfPrecision {{parent.half}}",
        f'  modelFile "\\[lsearch -inline \\[plugins -all {node.name}.cat] *.cat]"',
        f"  serialiseKnob {{{_serialise_knobs(node.knobs)}}}",
        "  name Inference1",
        " }",
        " Output {",
        "  name Output1",
        " }",
        "end_group",
        "",
    ]
    return "\n".join(lines)


def make_creator_script(nodes: Sequence[CatNode]) -> str:
    """Makes a Nuke script with a CatFileCreator for each node. Open it from the folder of the .pt files."""
    lines = ["#! FSGAN, made by fsgan export cattery"]
    here = "\\[python \\{nuke.script_directory()\\}]"
    for number, node in enumerate(nodes):
        lines += [
            "CatFileCreator {",
            " inputs 0",
            f' torchScriptFile "{here}/{node.name}.pt"',
            f' catFile "{here}/{node.name}.cat"',
            f" channelsIn {','.join(node.channels_in)}",
            f" channelsOut {','.join(RGBA)}",
            f" modelId {node.name}",
            f" name Create_{node.name}",
            f" xpos {number * 150}",
            " ypos 0",
            " addUserKnob {20 User}",
        ]
        for knob in node.knobs:
            # The model gets a choice as a whole number, so it is a whole-number knob here.
            kind = INTEGER if knob.kind == CHOICE else knob.kind
            value = "0" if knob.kind == CHOICE else knob.value
            flag = " +STARTLINE" if kind == CHECK else ""
            lines += [f" addUserKnob {{{kind} {knob.name}{flag}}}", f" {knob.name} {value}"]
        lines.append("}")
    return "\n".join([*lines, ""])


def make_cat_json(nodes: Sequence[CatNode]) -> str:
    """Makes the file that Nuke's Cattery menu reads."""
    cats = [{"filepath": f"{node.name}.gizmo", "name": f"FSGAN {node.title}", "icon": "FSGAN.png"} for node in nodes]
    return (
        json.dumps(
            {
                "minimum_nuke_version_required": OLDEST_NUKE,
                "version": 1,
                "category": "Faces",
                "description": "FSGAN's networks in the Inference node",
                "cats": cats,
            },
            indent=2,
        )
        + "\n"
    )


def make_init_py() -> str:
    """Makes the init.py of the exported folder, which puts the gizmos and .cat files on the plugin path."""
    return 'import nuke\n\nnuke.pluginAddPath("./cattery/FSGAN")\n'


def quote_tcl(text: str) -> str:
    """Quotes a text as one Tcl word."""
    if text and all(letter.isalnum() or letter in "._-" for letter in text):
        return text
    return '"' + "".join("\\" + letter if letter in '\\"[]{}$' else letter for letter in text) + '"'


def _serialise_knobs(knobs: Sequence[GizmoKnob]) -> str:
    """Makes the Inference node's own knobs; each follows the gizmo's."""
    return "".join(f'{knob.name}:{{"parent.{knob.name}"}};' for knob in knobs)
