"""The text around the networks in Nuke: gizmos, the script that makes the .cat files, the menu's cat.json.

Standard library only. Words are restricted to what Nuke's Tcl takes as it is, or quoted here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

__all__ = ["NODES", "CatNode", "Knob", "cat_json", "creator_script", "gizmo", "init_py", "trained_at"]

FLOAT, INTEGER, CHOICE, CHECK, TAB, TEXT = 7, 3, 4, 6, 20, 26  # of addUserKnob
# The first Nuke with a torch that loads the files (1.12; tried with that, 2.1.1 and 2.7.1).
OLDEST_NUKE = 14.0
RGB, RGBA = ("rgba.red", "rgba.green", "rgba.blue"), ("rgba.red", "rgba.green", "rgba.blue", "rgba.alpha")
# Nuke's Inference node takes no others; three that carry no motion here carry a second picture.
SECOND = ("forward.u", "forward.v", "backward.u")


@dataclass(frozen=True)
class Knob:
    """A knob of the gizmo, and of the Inference node in it, where it sets the attribute of its name."""

    name: str
    kind: int
    value: str
    label: str
    tooltip: str
    more: str = ""


@dataclass(frozen=True)
class CatNode:
    """One network as a node. inputs: name -> how its channels come in, as (from, to) pairs; the first is the picture
    underneath, whose channels stay what they are. help: of the node."""

    name: str
    title: str
    inputs: tuple[tuple[str, tuple[tuple[str, str], ...]], ...]
    channels_in: tuple[str, ...]
    help: str
    knobs: tuple[Knob, ...] = ()


EXPOSURE = Knob("exposure", FLOAT, "0", "exposure", "Stops that bring the face to a normal exposure for the network. "
                "They are undone in the result.", "R -6 6")
PRIMARIES = Knob("primaries", CHOICE, "Rec.709", "working space", "Primaries of the script's working space. Other "
                 "spaces: convert before and after.", "M {Rec.709 ACEScg}")
RESOLUTION = Knob("resolution", INTEGER, "256", "resolution", "Longer side that the network works at, as it was "
                  "trained. 0: the picture's own.")
HARD = Knob("hard", CHECK, "false", "hard", "The likeliest class alone instead of shares.", "+STARTLINE")
SHARED = (EXPOSURE, PRIMARIES, RESOLUTION)

MASK = CatNode(
    "FSGAN_MaskCat", "Mask", (("picture", ()),), RGB,
    "What of a face crop is face (red and alpha), hair (green) and background (blue). One face, upright, in a square "
    "about 1.2 times its height.", (*SHARED, HARD))
INPAINT = CatNode(
    "FSGAN_InpaintCat", "Inpaint", (("reenacted", ()), ("mask", (("rgba.alpha", "mask.a"),))), (*RGBA, "mask.a"),
    "The reenacted face (premultiplied) completed to the target's face matte, which is the alpha of the second input "
    "and of the result.", SHARED)
BLEND = CatNode(
    "FSGAN_BlendCat", "Blend", (("completed", ()), ("target", tuple(zip(RGB, SECOND, strict=True)))),
    (*RGBA, *SECOND),
    "The completed face, with the target's face matte as its alpha, seated in the target. Alpha of the result is the "
    "soft matte; where it is 0 the target's numbers stay.", SHARED)
REENACT = CatNode(
    "FSGAN_ReenactCat", "Reenact", (("source", ()), ("driver", tuple(zip(RGB, SECOND, strict=True)))),
    (*RGB, *SECOND),
    "The face of the source in the pose and expression of the driver, whose landmarks a network in the node finds. "
    "Both are face crops of the same size.", SHARED)
REENACT_POINTS = CatNode(
    "FSGAN_ReenactPointsCat", "Reenact by landmarks",
    (("source", ()), ("landmarks", (("forward.u", "forward.u"), ("forward.v", "forward.v")))),
    (*RGB, "forward.u", "forward.v"),
    "The face of the source in the pose and expression of landmarks: forward.u and forward.v of column k, in every row "
    "of the second input, are x and y of landmark k, 0 to 1 from the crop's upper left corner.", SHARED)
NODES = (MASK, INPAINT, BLEND, REENACT, REENACT_POINTS)


def trained_at(node: CatNode, resolution: int) -> CatNode:
    """The node with the resolution of its weights on its knob."""
    return replace(node, knobs=tuple(replace(knob, value=str(resolution)) if knob is RESOLUTION else knob
                                     for knob in node.knobs))


def gizmo(node: CatNode) -> str:
    """The node's .gizmo: its inputs into one picture, the Inference node, its knobs."""
    lines = ["#! FSGAN, made by fsgan export cattery", "Gizmo {", f" help {quoted(node.help)}",
             f" addUserKnob {{{TAB} {node.name}_tab l {quoted(node.title)}}}",
             f' addUserKnob {{{CHECK} useGPU l "use GPU if available" +STARTLINE}}', " useGPU true",
             f' addUserKnob {{{CHECK} half l "half precision" t "Faster and smaller on GPUs, slightly coarser." '
             "+STARTLINE}"]
    for knob in node.knobs:
        more = f" {knob.more}" if knob.more else ""
        lines += [f" addUserKnob {{{knob.kind} {knob.name} l {quoted(knob.label)} t {quoted(knob.tooltip)}{more}}}",
                  f" {knob.name} {quoted(knob.value)}"]
    lines += [f' addUserKnob {{{TEXT} about l "" +STARTLINE T "Manual: docs/cattery.md of FSGAN"}}', "}"]
    for number, (name, _) in enumerate(node.inputs):
        place = [f"  number {number}"] if number else []
        lines += [" Input {", "  inputs 0", f"  name {name}", *place, " }", f"set IN_{name} [stack 0]"]
    first, *rest = node.inputs
    lines.append(f"push $IN_{first[0]}")
    for number, (name, pairs) in enumerate(rest):
        copies = [f"  from{index} {source}\n  to{index} {target}" for index, (source, target) in enumerate(pairs)]
        # A Copy takes the picture underneath from the top of the stack, what is copied from below it.
        lines += [f"set BELOW{number} [stack 0]", f"push $IN_{name}", f"push $BELOW{number}", " Copy {", "  inputs 2",
                  *copies, f"  name Copy{number + 1}", " }"]
    # The model gets the whole format, black where there is no picture.
    lines += [" Crop {", "  box {0 0 {width} {height}}", "  crop false", "  name Whole", " }", " Inference {",
              "  useGPUIfAvailable {{parent.useGPU}}", "  halfPrecision {{parent.half}}",
              f'  modelFile "\\[lsearch -inline \\[plugins -all {node.name}.cat] *.cat]"',
              f"  serialiseKnob {{{_serialised(node.knobs)}}}", "  name Inference1", " }", " Output {",
              "  name Output1", " }", "end_group", ""]
    return "\n".join(lines)


def creator_script(nodes: Sequence[CatNode]) -> str:
    """A .nk with a CatFileCreator for each node, which is to be opened beside the .pt files."""
    lines = ["#! FSGAN, made by fsgan export cattery"]
    here = "\\[python \\{nuke.script_directory()\\}]"
    for number, node in enumerate(nodes):
        lines += ["CatFileCreator {", " inputs 0", f' torchScriptFile "{here}/{node.name}.pt"',
                  f' catFile "{here}/{node.name}.cat"', f" channelsIn {','.join(node.channels_in)}",
                  f" channelsOut {','.join(RGBA)}", f" modelId {node.name}", f" name Create_{node.name}",
                  f" xpos {number * 150}", " ypos 0", " addUserKnob {20 User}"]
        for knob in node.knobs:
            # A choice is a whole number to the model, and so it is a whole-number knob here.
            kind = INTEGER if knob.kind == CHOICE else knob.kind
            value = "0" if knob.kind == CHOICE else knob.value
            flag = " +STARTLINE" if kind == CHECK else ""
            lines += [f" addUserKnob {{{kind} {knob.name}{flag}}}", f" {knob.name} {value}"]
        lines.append("}")
    return "\n".join([*lines, ""])


def cat_json(nodes: Sequence[CatNode]) -> str:
    """What Nuke's Cattery menu reads."""
    cats = [{"filepath": f"{node.name}.gizmo", "name": f"FSGAN {node.title}", "icon": "FSGAN.png"} for node in nodes]
    return json.dumps({"minimum_nuke_version_required": OLDEST_NUKE, "version": 1, "category": "Faces",
                       "description": "FSGAN's networks in the Inference node", "cats": cats}, indent=2) + "\n"


def init_py() -> str:
    """init.py of the exported folder: so that gizmos and .cat files are found without the menu's scan, too."""
    return 'import nuke\n\nnuke.pluginAddPath("./cattery/FSGAN")\n'


def quoted(text: str) -> str:
    """One Tcl word that means `text`."""
    if text and all(letter.isalnum() or letter in "._-" for letter in text):
        return text
    return '"' + "".join("\\" + letter if letter in '\\"[]{}$' else letter for letter in text) + '"'


def _serialised(knobs: Sequence[Knob]) -> str:
    """The Inference node's own knobs, each following the gizmo's."""
    return "".join(f'{knob.name}:{{"parent.{knob.name}"}};' for knob in knobs)
