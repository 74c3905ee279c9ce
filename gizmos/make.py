#!/usr/bin/env python3
"""Makes the gizmos beside this file from the contract's declarations: `python3 gizmos/make.py`.

Standard library only. A test fails if the committed files differ from what this script makes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

GIZMO_FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(GIZMO_FOLDER.parent), str(GIZMO_FOLDER.parent / "nuke_plugin")]

from fsgan_nuke.knobs import (  # noqa: E402
    BOOL,
    BUTTON,
    DOUBLE,
    ENUM,
    FILE,
    INT,
    LINK,
    STRING,
    TAB,
    TEXT,
    UV,
    XY,
    NukeKnob,
    make_stage_knobs,
)

from fsgan_core.contract.landmarks import FACE_OFFSETS  # noqa: E402

TILE_COLOUR = "0x7a5c3cff"
OFFSET_PREFIX = "offset_"  # of knobs that are added to a track
EXAMPLE_FILE = "ToolSets/FSGAN/Example.nk"  # Nuke fills its ToolSets menu from folders of this name

# Input name -> what to connect to it.
INPUT_HELP = {
    "target": "the plate to change",
    "source": "clip or still of the person whose face is used",
    "driver": "clip of the performer whose expression is used",
    "reenacted": "FSGAN_Reenact",
    "mattes": "FSGAN_Mask",
    "completed": "FSGAN_Inpaint",
    "holdout": "roto or key of objects in front of the face; the target is kept where its alpha is 1",
    "mask": "limits the result to its alpha; no render needed",
}


@dataclass(frozen=True)
class Gizmo:
    """One gizmo: class name, help text, knobs, and the text of its inner nodes."""

    name: str
    help: str
    knobs: tuple[NukeKnob, ...]
    body: tuple[str, ...]
    inputs: tuple[str, ...]
    values: dict[str, str] = field(default_factory=dict)

    def make_help_text(self) -> str:
        """Text behind the panel's question mark: what the node does and what its inputs are."""
        inputs = [f"{name}: {INPUT_HELP[name]}" for name in self.inputs]
        return "\n".join([self.help, "", *inputs, "", "Manual: docs/nuke.md"])

    def format_file(self) -> str:
        """The text of the .gizmo file."""
        lines = ["#! FSGAN, made by gizmos/make.py", "Gizmo {"]
        lines += [
            f" tile_color {TILE_COLOUR}",
            f" help {quote_text(self.make_help_text())}",
            ' label "\\[value status_line]"',
        ]
        for knob in self.knobs:
            lines.append(" " + format_user_knob(knob))
            if knob.value:
                lines.append(f" {knob.name} {quote_text(knob.value)}")
        lines += [f" {name} {value}" for name, value in self.values.items()]
        return "\n".join([*lines, "}", *self.body, "end_group", ""])


def quote_text(text: str) -> str:
    """`text` as one Tcl word, without substitutions."""
    if text and all(letter.isalnum() or letter in "._/%#+-:" for letter in text) and not text.startswith("#"):
        return text
    escaped = "".join("\\" + letter if letter in '\\"[]{}$' else letter for letter in text)
    return '"' + escaped.replace("\n", "\\n") + '"'


def format_user_knob(knob: NukeKnob) -> str:
    """The `addUserKnob` line of a knob."""
    words = [str(knob.code), knob.name or '""']
    if knob.label or knob.code == TEXT:
        words += ["l", quote_text(knob.label)]
    if knob.tooltip:
        words += ["t", quote_text(knob.tooltip)]
    if knob.text:
        words += ["T", quote_text(knob.text) if knob.code != LINK else knob.text]
    if knob.items:
        words += ["M", "{" + " ".join(quote_text(item) for item in knob.items) + "}"]
    if knob.group:
        words += ["n", str(knob.group)]
    if knob.low is not None and knob.high is not None:
        words += ["R", f"{knob.low:g}", f"{knob.high:g}"]
    return "addUserKnob {" + " ".join([*words, *knob.flags]) + "}"


# Knobs that several nodes share.


def make_tab(name: str, label: str) -> NukeKnob:
    """A tab of the panel."""
    return NukeKnob(name, TAB, label)


def make_button(name: str, label: str, action: str, tooltip: str, *flags: str) -> NukeKnob:
    """A button that runs an action of the plugin."""
    return NukeKnob(name, BUTTON, label, tooltip, text=f"import fsgan_nuke; fsgan_nuke.run('{action}')", flags=flags)


def make_line(label: str = "") -> NukeKnob:
    """A dividing line, with an optional label."""
    return NukeKnob("", TEXT, label)


def make_group(name: str, label: str, knobs: Sequence[NukeKnob]) -> list[NukeKnob]:
    """Knobs in a group that can be folded."""
    return [NukeKnob(name, TAB, label, group=1), *knobs, NukeKnob(f"{name}_end", TAB, group=-1)]


def make_note(name: str, tooltip: str) -> NukeKnob:
    """A text beside the previous knob; the plugin fills it while the panel is open."""
    return NukeKnob(name, TEXT, "", tooltip, text=" ", flags=("-STARTLINE", "+DO_NOT_WRITE"))


def make_engine_knobs(stage: str) -> list[NukeKnob]:
    """The choice of engine, and a note on what it gives on this machine."""
    return [
        *make_stage_knobs(stage, only=("engine",)),
        make_note("engine_note", "The engine that runs on this machine with this choice."),
    ]


def make_weights_menu(name: str = "network_menu") -> NukeKnob:
    """The menu of installed weights."""
    return NukeKnob(
        name,
        ENUM,
        "installed",
        "Installed weights that the licence setting allows. Choosing one writes its name into 'network'. A name that "
        "you type there is kept, even if it is not installed.",
        items=("best installed",),
        flags=("-STARTLINE", "+DO_NOT_WRITE"),
    )


def make_views_knobs() -> list[NukeKnob]:
    """The group of knobs about source views."""
    return make_group(
        "views_group",
        "source views",
        [
            make_button(
                "view_map",
                "View map...",
                "view_map",
                "Shows the source's views by yaw and pitch. Exclude or prefer views, and see which angles are "
                "missing for these frames.",
                "+STARTLINE",
            ),
            *make_stage_knobs("reenact", group="views"),
        ],
    )


STEREO_VIEWS_KNOB = NukeKnob(
    "stereo_views",
    STRING,
    "stereo views",
    "Views of a stereo script to render, for example: left right. Empty renders all.",
)


def make_offset_knobs() -> list[NukeKnob]:
    """Corrections that an artist adds to the faces of a track; each can be animated."""
    codes = {"move": UV, "scale": DOUBLE, "turn": DOUBLE}
    units = {"move": " (px)", "scale": "", "turn": " (degrees)"}
    return [
        NukeKnob(
            OFFSET_PREFIX + offset.name,
            codes[offset.kind],
            offset.label + units[offset.kind],
            offset.help,
            "1" if offset.kind == "scale" else "",
            low=None if offset.kind == "move" else 0.0 if offset.kind == "scale" else -offset.slider_limit,
            high=offset.slider_limit or None,
        )
        for offset in FACE_OFFSETS.values()
    ]


def make_render_knobs(status: str = "not rendered yet") -> list[NukeKnob]:
    """The knobs at the top of every node that renders."""
    return [
        make_button(
            "render_frame",
            "Render frame",
            "render_frame",
            "Renders the current frame of this node and of the FSGAN nodes before it, if they are not up to date.",
            "+STARTLINE",
        ),
        make_button(
            "render_range",
            "Range",
            "render_range",
            "Renders this node over its frames. The nodes before it are used as they are.",
            "-STARTLINE",
        ),
        make_button(
            "render_here",
            "To here",
            "render_here",
            "Renders this node and all FSGAN nodes before it over the frames. Only stale frames are rendered.",
            "-STARTLINE",
        ),
        make_button(
            "cancel",
            "Cancel",
            "cancel",
            "Stops the render after the current frame. Finished frames are kept.",
            "-STARTLINE",
        ),
        NukeKnob(
            "frames",
            STRING,
            "frames",
            "Frames that Range and To here render, for example 1001-1048x2,1060. Empty uses the target's frames.",
        ),
        NukeKnob(
            "status",
            TEXT,
            "status",
            "Shows whether the frames are up to date, stale (and what changed) or rendering, or the error.",
            text=status,
        ),
        NukeKnob("status_line", STRING, "", "", flags=("+INVISIBLE", "+DO_NOT_WRITE")),
        make_line(),
    ]


def make_report_knobs() -> list[NukeKnob]:
    """The knobs of the report."""
    return [
        NukeKnob(
            "report",
            BOOL,
            "write report",
            "After Range or To here, write a folder 'report' beside the frames: contact sheet, preview movie, times, "
            "and the frames to check.",
            "false",
            flags=("+STARTLINE",),
        ),
        make_button(
            "open_report",
            "Open report",
            "open_report",
            "Opens the report on the last range that was rendered.",
            "-STARTLINE",
        ),
    ]


RELOAD_KNOB = make_button("reload", "Reload", "reload", "Reads the frames again and checks which are up to date.")


def make_output_knobs(*more: NukeKnob) -> list[NukeKnob]:
    """The Output tab."""
    return [
        make_tab("output_tab", "Output"),
        NukeKnob(
            "file",
            FILE,
            "file",
            "Where frames are written, as name.####.exr. Empty uses a folder beside the script, named after this node.",
        ),
        STEREO_VIEWS_KNOB,
        NukeKnob(
            "missing_results",
            ENUM,
            "missing frames",
            "What to show for frames that are not rendered yet.",
            items=("error", "black", "checkerboard", "nearest frame"),
            value="black",
        ),
        *more,
        NukeKnob("result", FILE, "shown", "The frames that this node shows. Set by a render.", flags=("+DISABLED",)),
        RELOAD_KNOB,
        NukeKnob("ready", INT, "", "", "0", flags=("+INVISIBLE",)),
        NukeKnob("first", INT, "", "", "1", flags=("+INVISIBLE",)),
        NukeKnob("last", INT, "", "", "1", flags=("+INVISIBLE",)),
    ]


def make_network_knobs(stage: str) -> list[NukeKnob]:
    """The Network tab of a stage."""
    first, *rest = make_stage_knobs(stage, group="network")
    return [
        make_tab("network_tab", "Network"),
        first,
        make_weights_menu(),
        *rest,
        *make_stage_knobs("weights", "weights_"),
    ]


def make_info_knobs(page: str) -> list[NukeKnob]:
    """The Info tab."""
    return [
        make_tab("info_tab", "Info"),
        NukeKnob(
            "about", TEXT, "", "Version and device of the worker process.", text="FSGAN", flags=("+DO_NOT_WRITE",)
        ),
        NukeKnob("pages", TEXT, "", text=f"Manual: docs/nuke.md, docs/{page}"),
        make_button(
            "doctor",
            "Doctor",
            "doctor",
            "Shows what is installed, and which engines and devices can be used.",
            "+STARTLINE",
        ),
        make_button("open_log", "Open log", "open_log", "Opens the worker's log.", "-STARTLINE"),
        make_button("open_manual", "Manual", "open_manual", "Opens docs/nuke.md.", "-STARTLINE"),
    ]


# Inner nodes. They are connected through a stack: a node takes its inputs from the top; the last one pushed is input 0.


def format_node(kind: str, inputs: int | None = None, **knobs: str) -> str:
    """The line of an inner node."""
    words = [f"inputs {inputs}"] if inputs is not None else []
    return f" {kind} {{ " + " ".join([*words, *(f"{name} {value}" for name, value in knobs.items())]) + " }"


def make_input_lines(inputs: Sequence[str]) -> list[str]:
    """The gizmo's inputs and the Read of the rendered frames.

    Each input is stored under its name and has a Write, for what the worker cannot read itself.
    """
    lines = []
    for number, name in enumerate(inputs):
        more = {"number": str(number)} if number else {}
        lines += [
            format_node("Input", 0, name=name, **more, xpos=str(200 * number), ypos="0"),
            f"set IN_{name} [stack 0]",
        ]
        if name != "mask":  # it is used inside Nuke only
            lines.append(
                format_node(
                    "Write",
                    channels="all",
                    file_type="exr",
                    datatype='"32 bit float"',
                    raw="true",
                    create_directories="true",
                    disable="true",
                    name=f"Write_{name}",
                    xpos=str(200 * number),
                    ypos="60",
                )
            )
    read = format_node(
        "Read",
        0,
        file_type="exr",
        file='"\\[value parent.result]"',
        first="{{parent.first}}",
        last="{{parent.last}}",
        origfirst="{{parent.first}}",
        origlast="{{parent.last}}",
        before="black",
        after="black",
        on_error="{{parent.missing_results}}",
        raw="true",
        name="Result",
        xpos="-200",
        ypos="0",
    )
    return [*lines, read, "set RESULT [stack 0]"]


def make_stage_body(inputs: Sequence[str], layers: Sequence[str]) -> tuple[str, ...]:
    """The stage's own layers over the target's other channels and metadata.

    While nothing is rendered it is the unchanged target.
    """
    lines = make_input_lines(inputs)
    lines.append("push $IN_target")
    for number, layer in enumerate(layers):
        lines += [
            "set BELOW [stack 0]",
            "push $RESULT",
            "push $BELOW",
            format_node(
                "Copy",
                2,
                channels=layer,
                from0="none",
                to0="none",
                metainput="All",
                bbox="A",
                name=f"Copy{number + 1}",
                xpos="0",
                ypos=str(160 + 60 * number),
            ),
        ]
    return (*lines, "set PICTURE [stack 0]", "push $IN_target", "push $PICTURE", *_make_output_lines("0"))


def make_final_body(inputs: Sequence[str]) -> tuple[str, ...]:
    """The rendered picture over the target, by channels, mix and mask; these three need no render."""
    return (
        *make_input_lines(inputs),
        *_make_mix_lines(inputs, "RESULT"),
        "set PICTURE [stack 0]",
        "push $IN_target",
        "push $PICTURE",
        *_make_output_lines("400"),
    )


def _make_mix_lines(inputs: Sequence[str], picture: str) -> tuple[str, ...]:
    """The stored `picture` over the target, through the node `Mix` and the mask input if it is connected."""
    connected = f'{{{{"\\[exists parent.input{list(inputs).index("mask")}]"}}}}'
    return (
        "push $IN_mask",
        format_node("Constant", 0, channels="rgba", color="1", name="Everywhere", xpos="400", ypos="500"),
        format_node("Switch", 2, which=connected, name="MaskOrAll", xpos="400", ypos="560"),
        "set MASK [stack 0]",
        "push $MASK",
        f"push ${picture}",
        "push $IN_target",
        format_node("Keymix", 3, channels="rgb", bbox="B", name="Mix", xpos="0", ypos="620"),
    )


def _make_output_lines(ypos: str) -> tuple[str, ...]:
    """Ends a body: the top of the stack if something is rendered, else the item below it."""
    return (
        format_node("Switch", 2, which="{{parent.ready==0}}", name="Shown", xpos="0", ypos=str(int(ypos) + 400)),
        format_node("Output", name="Output1", xpos="0", ypos=str(int(ypos) + 480)),
    )


def make_passing_body(inputs: Sequence[str]) -> tuple[str, ...]:
    """Passes the first input through."""
    return (
        *make_input_lines(inputs)[:-2],
        f"push $IN_{inputs[0]}",
        format_node("Output", name="Output1", xpos="0", ypos="200"),
    )


# The nodes.


def make_analyse() -> Gizmo:
    """The node that analyses a clip."""
    tracks = [
        make_tab("tracks_tab", "Tracks"),
        NukeKnob("track", FILE, "track file", "JSON file of the track. Empty keeps it beside the script."),
        STEREO_VIEWS_KNOB,
        make_button(
            "to_tracker", "Tracker", "to_tracker", "Makes a Tracker node with the face's landmarks.", "+STARTLINE"
        ),
        make_button(
            "to_corner_pin",
            "CornerPin",
            "to_corner_pin",
            "Makes a CornerPin2D node that follows the face.",
            "-STARTLINE",
        ),
        make_button("to_roto", "Roto", "to_roto", "Makes a Roto node with the outline of the face.", "-STARTLINE"),
        make_button(
            "to_points",
            "Points",
            "to_points",
            "Makes a node with a pair of curves for every landmark, to link other knobs to.",
            "-STARTLINE",
        ),
        make_button(
            "take_edits",
            "Take edits back",
            "take_edits",
            "Saves points that you moved in the selected Tracker (or node of points) as overrides in the track.",
            "+STARTLINE",
        ),
        NukeKnob("centre", XY, "face centre", "Centre of the analysed face, as curves."),
        NukeKnob("face_size", DOUBLE, "face width (px)", "Width of the face's box, as a curve.", low=0, high=1000),
        NukeKnob(
            "yaw", DOUBLE, "yaw (degrees)", "Above 0 the face is turned to the right of the picture.", low=-90, high=90
        ),
        NukeKnob("pitch", DOUBLE, "pitch (degrees)", "Above 0 the face looks up.", low=-90, high=90),
        NukeKnob(
            "roll", DOUBLE, "roll (degrees)", "Above 0 the head is tilted clockwise in the picture.", low=-180, high=180
        ),
        NukeKnob("confidence", DOUBLE, "confidence", "Confidence of the detection, 0 to 1.", low=0, high=1),
        make_tab("offsets_tab", "Offsets"),
        NukeKnob("", TEXT, "", text="Corrections added to the track. They can be animated."),
        *make_offset_knobs(),
    ]
    head = [
        make_button("analyse", "Analyse", "analyse", "Finds and tracks the faces in the whole clip.", "+STARTLINE"),
        *[
            knob
            for knob in make_render_knobs("not analysed yet")
            if knob.name in ("cancel", "status", "status_line", "")
        ],
    ]
    return Gizmo(
        "FSGAN_Analyse",
        "Finds and tracks the face in a clip. Put it after the target or the source: the FSGAN nodes after it use its "
        "track, its person and its exposure. The picture passes through unchanged.",
        (
            make_tab("analyse_tab", "Analyse"),
            *head,
            *make_stage_knobs("analyse"),
            make_tab("colour_tab", "Colour"),
            *make_stage_knobs("colour", only=("exposure",)),
            *tracks,
            *make_info_knobs("track-file.md"),
        ),
        make_passing_body(("target",)),
        ("target",),
    )


def make_stage(
    name: str, title: str, stage_name: str, inputs: Sequence[str], layers: Sequence[str], help: str
) -> Gizmo:
    """A node of one stage before the blend."""
    views = make_views_knobs() if stage_name == "reenact" else []
    knobs = (
        make_tab(f"{stage_name}_tab", title),
        *make_render_knobs(),
        *make_engine_knobs(stage_name),
        *make_stage_knobs(stage_name, exclude=("engine",), group=""),
        *views,
        *make_network_knobs(stage_name),
        *make_output_knobs(*make_stage_knobs("output", only=("compression",))),
        *make_info_knobs("stages.md"),
    )
    return Gizmo(name, help, knobs, make_stage_body(inputs, layers), tuple(inputs))


MIXING_KNOBS = (
    NukeKnob(
        "channels",
        LINK,
        "channels",
        "Channels that the result replaces. No render needed.",
        text="Mix.channels",
    ),
    NukeKnob(
        "mix", LINK, "mix", "Opacity of the result: 0 is the target, 1 the result. No render needed.", text="Mix.mix"
    ),
    NukeKnob(
        "invert_mask",
        LINK,
        "invert mask",
        "Show the result where the mask input is black instead. No render needed.",
        text="Mix.invertMask",
        flags=("+STARTLINE",),
    ),
    make_line(),
)


def make_blend() -> Gizmo:
    """The node that blends."""
    inputs = ("target", "completed", "mattes", "holdout", "mask")
    knobs = (
        make_tab("blend_tab", "Blend"),
        *make_render_knobs(),
        *MIXING_KNOBS,
        *make_engine_knobs("blend"),
        *make_stage_knobs("blend", exclude=("engine", "mix"), group=""),
        *make_network_knobs("blend"),
        *make_output_knobs(*make_stage_knobs("output", only=("compression", "depth", "layers")), *make_report_knobs()),
        *make_info_knobs("stages.md"),
    )
    return Gizmo(
        "FSGAN_Blend",
        "Blends the completed face into the target: matches light, sharpness and grain, and blends the edge. Nothing "
        "outside the matte changes. Channels, mix and mask need no render.",
        knobs,
        make_final_body(inputs),
        inputs,
    )


def make_drive() -> Gizmo:
    """The node of a drive."""
    inputs = ("target", "driver", "holdout", "mask")
    knobs = (
        make_tab("drive_tab", "Drive"),
        *make_render_knobs(),
        *MIXING_KNOBS,
        *make_stage_knobs("drive"),
        make_tab("mask_tab", "Mask"),
        *make_stage_knobs("mask", "mask_", group=""),
        *make_output_knobs(*make_stage_knobs("output", only=("compression", "depth", "layers")), *make_report_knobs()),
        *make_info_knobs("drive.md"),
    )
    return Gizmo(
        "FSGAN_Drive",
        "Gives the plate's own actor the expression of a driver. One render does all stages; set Output > layers to "
        "all to get their layers too.",
        knobs,
        make_final_body(inputs),
        inputs,
    )


def make_swap() -> Gizmo:
    """All four stages, connected; its knobs link to theirs."""
    inputs = ("target", "source", "holdout", "mask")
    made = {gizmo.name: gizmo for gizmo in (REENACT_GIZMO, MASK_GIZMO, INPAINT_GIZMO, make_blend())}
    knobs: list[NukeKnob] = [make_tab("swap_tab", "Swap"), *make_render_knobs()]
    links: list[NukeKnob] = []
    for name, gizmo in made.items():
        inner = name.partition("_")[2]
        links.append(make_tab(f"{inner.lower()}_tab", inner))
        for_network = {knob.name for knob in make_stage_knobs(inner.lower(), group="network")} | {"network_menu"}
        links += [link for knob in gizmo.knobs if knob.name not in for_network for link in _make_links(inner, knob)]
        links += make_group(
            f"{inner.lower()}_network_group",
            "network",
            [link for knob in gizmo.knobs if knob.name in for_network for link in _make_links(inner, knob)],
        )
    links += [
        make_tab("network_tab", "Network"),
        *(
            NukeKnob(knob.name, LINK, knob.label, knob.tooltip, text=f"Blend.{knob.name}")
            for knob in make_stage_knobs("weights", "weights_")
        ),
    ]
    knobs += [NukeKnob(**{**knob.__dict__, "name": f"live_{knob.name}"}) for knob in MIXING_KNOBS if knob.name]
    links.append(make_tab("output_tab", "Output"))
    for knob in made["FSGAN_Blend"].knobs:
        if knob.name in SWAP_OUTPUT_KNOBS:
            links.append(
                NukeKnob(knob.name, LINK, knob.label, knob.tooltip, text=f"Blend.{knob.name}", flags=knob.flags)
            )
    links += [make_report_knobs()[1], replace(RELOAD_KNOB, flags=("-STARTLINE",))]
    # Nuke saves a value inside a gizmo only if a knob of the gizmo links to it.
    for inner in ("Reenact", "Mask", "Inpaint", "Blend"):
        links += [
            NukeKnob(f"{inner.lower()}_{name}", LINK, "", text=f"{inner}.{name}", flags=("+INVISIBLE",))
            for name in ("result", "ready", "first", "last", *(("file",) if inner != "Blend" else ()))
        ]
    body = [
        line
        for number, name in enumerate(inputs)
        for line in (
            format_node(
                "Input", 0, name=name, **({"number": str(number)} if number else {}), xpos=str(250 * number), ypos="0"
            ),
            f"set IN_{name} [stack 0]",
        )
    ]
    body += [
        "push $IN_source",
        "push $IN_target",
        format_node("FSGAN_Reenact", 2, name="Reenact", xpos="250", ypos="150"),
        "set REENACTED [stack 0]",
        "push $IN_holdout",
        "push $IN_target",
        format_node("FSGAN_Mask", 2, name="Mask", xpos="500", ypos="150"),
        "set MATTES [stack 0]",
        "push $IN_holdout",
        "push $IN_source",
        "push $MATTES",
        "push $REENACTED",
        "push $IN_target",
        format_node("FSGAN_Inpaint", 5, name="Inpaint", xpos="250", ypos="300"),
        "set COMPLETED [stack 0]",
        "push $IN_holdout",
        "push $MATTES",
        "push $COMPLETED",
        "push $IN_target",
        format_node("FSGAN_Blend", 4, name="Blend", xpos="0", ypos="450"),
        "set BLENDED [stack 0]",
        *_make_mix_lines(inputs, "BLENDED"),
        format_node("Output", name="Output1", xpos="0", ypos="700"),
    ]
    return Gizmo(
        "FSGAN_Swap",
        "Puts the source's face on the target's head: reenact, mask, inpaint and blend in one node. Open the group to "
        "put your own nodes between the stages.",
        (*knobs, *links, *make_info_knobs("stages.md")),
        tuple(body),
        inputs,
    )


def _make_links(inner: str, knob: NukeKnob) -> list[NukeKnob]:
    """Knobs of the swap's panel for one knob of an inner node.

    A parameter gets a link. A group, or a knob that the plugin fills, gets a knob of its own.
    """
    name = f"{inner.lower()}_{knob.name}"
    if knob.name in LINKED_KNOBS[inner]:
        return [NukeKnob(name, LINK, knob.label, knob.tooltip, text=f"{inner}.{knob.name}", flags=knob.flags)]
    own = knob.name in ("engine_note", "network_menu") or knob.group
    if own:
        return [NukeKnob(**{**knob.__dict__, "name": name})]
    return [knob] if knob.name == "view_map" else []


REENACT_GIZMO = make_stage(
    "FSGAN_Reenact",
    "Reenact",
    "reenact",
    ("target", "source"),
    ("rgba", "st", "confidence"),
    "Shows the source's face in the target's pose and expression. Writes it premultiplied, with coordinates into the "
    "source view (st, for an STMap) and a confidence.",
)
MASK_GIZMO = make_stage(
    "FSGAN_Mask",
    "Mask",
    "mask",
    ("target", "holdout"),
    ("matte",),
    "Finds the part of the target that is replaced, and what is in front of it. Writes matte.face, matte.hair, "
    "matte.mouth and matte.occlusion.",
)
INPAINT_GIZMO = make_stage(
    "FSGAN_Inpaint",
    "Inpaint",
    "inpaint",
    ("target", "reenacted", "mattes", "source", "holdout"),
    ("rgba", "matte"),
    "Fills the parts of the face that the matte covers and the reenacted face does not show. Connect the source to "
    "use its other views.",
)
SWAP_OUTPUT_KNOBS = ("file", "stereo_views", "missing_results", "compression", "depth", "layers", "report")
LINKED_KNOBS = {
    inner: {knob.name for knob in make_stage_knobs(inner.lower(), exclude=("mix",))}
    for inner in ("Reenact", "Mask", "Inpaint", "Blend")
}


def make_gizmos() -> tuple[Gizmo, ...]:
    """All gizmos, in the order of the menu."""
    return (make_analyse(), REENACT_GIZMO, MASK_GIZMO, INPAINT_GIZMO, make_blend(), make_swap(), make_drive())


def make_example() -> str:
    """A node tree of all stages, as text to paste."""
    lines = [
        "#! FSGAN, made by gizmos/make.py",
        "set cut_paste_input [stack 0]",
        format_node("Read", 0, name="Source", label='"the person whose face is used"', xpos="250", ypos="0"),
        format_node("FSGAN_Analyse", name="AnalyseSource", xpos="250", ypos="120"),
        "set SOURCE [stack 0]",
        format_node("Read", 0, name="Target", label='"the plate to change"', xpos="0", ypos="0"),
        format_node("FSGAN_Analyse", name="AnalyseTarget", xpos="0", ypos="120"),
        "set TARGET [stack 0]",
        "push $SOURCE",
        "push $TARGET",
        format_node("FSGAN_Reenact", 2, name="Reenact", xpos="250", ypos="240"),
        "set REENACTED [stack 0]",
        "push $TARGET",
        format_node("FSGAN_Mask", 1, name="Mask", xpos="500", ypos="240"),
        "set MATTES [stack 0]",
        "push $SOURCE",
        "push $MATTES",
        "push $REENACTED",
        "push $TARGET",
        format_node("FSGAN_Inpaint", 4, name="Inpaint", xpos="250", ypos="380"),
        "set COMPLETED [stack 0]",
        "push $MATTES",
        "push $COMPLETED",
        "push $TARGET",
        format_node("FSGAN_Blend", 3, name="Blend", xpos="0", ypos="520"),
        format_node("Write", file_type="exr", channels="all", name="Write", xpos="0", ypos="640"),
        "",
    ]
    return "\n".join(line.strip() for line in lines)


def make_files() -> dict[str, str]:
    """File name -> text, for every file that this script makes."""
    return {**{f"{gizmo.name}.gizmo": gizmo.format_file() for gizmo in make_gizmos()}, EXAMPLE_FILE: make_example()}


def main() -> None:
    """Writes all files."""
    for name, text in make_files().items():
        (GIZMO_FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        (GIZMO_FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
