"""The text around the networks in Nuke: gizmos, the script that makes the .cat files, the menu's cat.json.

Standard library only. Words are restricted to what Nuke's Tcl takes as it is, or quoted here.
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
    "with_resolution",
]

FLOAT, INTEGER, CHOICE, CHECK, TAB, TEXT = 7, 3, 4, 6, 20, 26  # of addUserKnob
# The first Nuke with a torch that loads the files (1.12; tried with that, 2.1.1 and 2.7.1).
OLDEST_NUKE = 14.0
RGB, RGBA = ("rgba.red", "rgba.green", "rgba.blue"), ("rgba.red", "rgba.green", "rgba.blue", "rgba.alpha")
# Nuke's Inference node takes no others; three that carry no motion here carry a second picture.
SECOND_PICTURE = ("forward.u", "forward.v", "backward.u")


@dataclass(frozen=True)
class GizmoKnob:
    """A knob of the gizmo, and of the Inference node in it, where it sets the attribute of its name."""

    name: str
    kind: int
    value: str
    label: str
    tooltip: str
    extra: str = ""


@dataclass(frozen=True)
class CatNode:
    """One network as a node. inputs: name -> how its channels come in, as (from, to) pairs; the first is the picture
    underneath, whose channels stay what they are. help: of the node."""

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
    "Stops that bring the face to a normal exposure for the network. They are undone in the result.",
    "R -6 6",
)
PRIMARIES_KNOB = GizmoKnob(
    "primaries",
    CHOICE,
    "Rec.709",
    "working space",
    "Primaries of the script's working space. Other spaces: convert before and after.",
    "M {Rec.709 ACEScg}",
)
RESOLUTION_KNOB = GizmoKnob(
    "resolution",
    INTEGER,
    "256",
    "resolution",
    "Longer side that the network works at, as it was trained. 0: the picture's own.",
)
HARD_KNOB = GizmoKnob("hard", CHECK, "false", "hard", "The likeliest class alone instead of shares.", "+STARTLINE")
SHARED_KNOBS = (EXPOSURE_KNOB, PRIMARIES_KNOB, RESOLUTION_KNOB)

MASK_NODE = CatNode(
    "FSGAN_MaskCat",
    "Mask",
    (("picture", ()),),
    RGB,
    "What of a face crop is face (red and alpha), hair (green) and background (blue). One face, upright, in a square "
    "about 1.2 times its height.",
    (*SHARED_KNOBS, HARD_KNOB),
)
INPAINT_NODE = CatNode(
    "FSGAN_InpaintCat",
    "Inpaint",
    (("reenacted", ()), ("mask", (("rgba.alpha", "mask.a"),))),
    (*RGBA, "mask.a"),
    "The reenacted face (premultiplied) completed to the target's face matte, which is the alpha of the second input "
    "and of the result.",
    SHARED_KNOBS,
)
BLEND_NODE = CatNode(
    "FSGAN_BlendCat",
    "Blend",
    (("completed", ()), ("target", tuple(zip(RGB, SECOND_PICTURE, strict=True)))),
    (*RGBA, *SECOND_PICTURE),
    "The completed face, with the target's face matte as its alpha, seated in the target. Alpha of the result is the "
    "soft matte; where it is 0 the target's numbers stay.",
    SHARED_KNOBS,
)
REENACT_NODE = CatNode(
    "FSGAN_ReenactCat",
    "Reenact",
    (("source", ()), ("driver", tuple(zip(RGB, SECOND_PICTURE, strict=True)))),
    (*RGB, *SECOND_PICTURE),
    "The face of the source in the pose and expression of the driver, whose landmarks a network in the node finds. "
    "Both are face crops of the same size.",
    SHARED_KNOBS,
)
REENACT_POINTS_NODE = CatNode(
    "FSGAN_ReenactPointsCat",
    "Reenact by landmarks",
    (("source", ()), ("landmarks", (("forward.u", "forward.u"), ("forward.v", "forward.v")))),
    (*RGB, "forward.u", "forward.v"),
    "The face of the source in the pose and expression of landmarks: forward.u and forward.v of column k, in every row "
    "of the second input, are x and y of landmark k, 0 to 1 from the crop's upper left corner.",
    SHARED_KNOBS,
)
NODES = (MASK_NODE, INPAINT_NODE, BLEND_NODE, REENACT_NODE, REENACT_POINTS_NODE)


def with_resolution(node: CatNode, resolution: int) -> CatNode:
    """The node with the resolution of its weights on its knob."""
    return replace(
        node,
        knobs=tuple(replace(knob, value=str(resolution)) if knob is RESOLUTION_KNOB else knob for knob in node.knobs),
    )


def make_gizmo(node: CatNode) -> str:
    """The node's .gizmo: its inputs into one picture, the Inference node, its knobs."""
    lines = [
        "#! FSGAN, made by fsgan export cattery",
        "Gizmo {",
        f" help {quote_tcl(node.help)}",
        f" addUserKnob {{{TAB} {node.name}_tab l {quote_tcl(node.title)}}}",
        f' addUserKnob {{{CHECK} useGPU l "use GPU if available" +STARTLINE}}',
        " useGPU true",
        f' addUserKnob {{{CHECK} half l "half precision" t "Faster and smaller on GPUs, slightly coarser." '
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
    # The model gets the whole format, black where there is no picture.
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
    """A .nk with a CatFileCreator for each node, which is to be opened beside the .pt files."""
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
            # A choice is a whole number to the model, and so it is a whole-number knob here.
            kind = INTEGER if knob.kind == CHOICE else knob.kind
            value = "0" if knob.kind == CHOICE else knob.value
            flag = " +STARTLINE" if kind == CHECK else ""
            lines += [f" addUserKnob {{{kind} {knob.name}{flag}}}", f" {knob.name} {value}"]
        lines.append("}")
    return "\n".join([*lines, ""])


def make_cat_json(nodes: Sequence[CatNode]) -> str:
    """What Nuke's Cattery menu reads."""
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
    """init.py of the exported folder: so that gizmos and .cat files are found without the menu's scan, too."""
    return 'import nuke\n\nnuke.pluginAddPath("./cattery/FSGAN")\n'


def quote_tcl(text: str) -> str:
    """One Tcl word that means `text`."""
    if text and all(letter.isalnum() or letter in "._-" for letter in text):
        return text
    return '"' + "".join("\\" + letter if letter in '\\"[]{}$' else letter for letter in text) + '"'


def _serialise_knobs(knobs: Sequence[GizmoKnob]) -> str:
    """The Inference node's own knobs, each following the gizmo's."""
    return "".join(f'{knob.name}:{{"parent.{knob.name}"}};' for knob in knobs)
