"""Knobs of the panels that several nodes share, and their lines in a gizmo's file."""

from __future__ import annotations

from collections.abc import Sequence

from fsgan_nuke.frame_choice import ALONE_KNOB, CHOICE_KNOB, FRAME_CHOICES
from fsgan_nuke.knobs import (
    BOOL,
    CHANNEL,
    DOUBLE,
    ENUM,
    INT,
    LINK,
    STRING,
    TEXT,
    UV,
    NukeKnob,
    make_stage_knobs,
)
from knob_lines import make_button, make_group, make_line, make_tab

from fsgan_core.contract.landmarks import FACE_OFFSETS

OFFSET_PREFIX = "offset_"  # of knobs that are added to a track
ALONE_HELP = "Off: Render also renders the FSGAN nodes upstream of this one. On: they are used as they are."


def make_reset_button(stage: str, prefix: str = "") -> NukeKnob:
    """The button that sets the knobs of a tab back to their defaults."""
    return make_button(
        f"reset_{prefix or stage}".rstrip("_"),
        "reset tab",
        f"reset_{stage}",
        f"Sets every knob of the stage {stage} on this node back to its default, and deletes its keys. It is one undo "
        "step.",
        "+STARTLINE",
    )


def make_note(name: str, tooltip: str) -> NukeKnob:
    """A text beside the previous knob; the plugin fills it while the panel is open."""
    return NukeKnob(name, TEXT, "", tooltip, text=" ", flags=("-STARTLINE", "+DO_NOT_WRITE"))


def make_engine_knobs(stage: str) -> list[NukeKnob]:
    """The choice of engine, and a note on what it gives on this machine."""
    return [
        *make_stage_knobs(stage, only=("engine",)),
        make_note("engine_note", "The engine that runs on this machine with this choice."),
    ]


def make_preset_knobs() -> list[NukeKnob]:
    """The name of the preset that the node started from, and the menu of presets."""
    return [
        NukeKnob(
            "preset",
            STRING,
            "preset",
            "Name or file of the preset that comes first; the knobs come after it. Every frame's metadata names it, "
            "and what was changed.",
        ),
        NukeKnob(
            "preset_menu",
            ENUM,
            "",
            "Presets of this installation and of the studio. Choosing one sets its knobs on this node. as-published "
            "gives the result of the authors' program.",
            items=("none",),
            flags=("-STARTLINE", "+DO_NOT_WRITE"),
        ),
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


def add_atlas_button(knobs: Sequence[NukeKnob]) -> list[NukeKnob]:
    """The knobs with a button behind the knob `atlas`, if there is one."""
    button = make_button(
        "bake_atlas",
        "Bake atlas",
        "bake_atlas",
        "Writes the source's skin as a flat picture and makes a Read node of it. Paint on it, write it under another "
        "name and name that file in 'atlas'.",
        "-STARTLINE",
    )
    return [one for knob in knobs for one in ((knob, button) if knob.name == "atlas" else (knob,))]


def make_likeness_knobs() -> list[NukeKnob]:
    """The group of knobs for the likeness of single regions."""
    knobs = make_stage_knobs("reenact", group="likeness")
    return make_group("likeness_group", "likeness by region", knobs, is_open=False)


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
        is_open=False,
    )


def make_drawing_knobs() -> list[NukeKnob]:
    """What FSGAN_Analyse draws over the picture, and the way to its doubtful frames."""
    hidden = ("+INVISIBLE", "+DO_NOT_WRITE")
    shown = (
        ("draw_box", "box", "The box of each person with number and confidence. Other people's are weaker.", "true"),
        ("draw_landmarks", "landmarks", "The 68 landmarks of the chosen person.", "true"),
        ("draw_mesh", "mesh", "The mesh of the chosen person.", "false"),
        ("draw_pose", "pose", "The head's axes: sideways, up, and (with the dot) where the face looks.", "true"),
    )
    return [
        NukeKnob(
            "overlay",
            BOOL,
            "draw over the picture",
            "Draws what was found over the picture, to be looked at. Renders and nodes on a farm never contain it.",
            "false",
            flags=("+STARTLINE", "+DO_NOT_WRITE"),
        ),
        *(
            NukeKnob(name, BOOL, label, tip, value, flags=("-STARTLINE" if number else "+STARTLINE",))
            for number, (name, label, tip, value) in enumerate(shown)
        ),
        NukeKnob(
            "confidence",
            DOUBLE,
            "confidence",
            "Confidence of the detection in this frame, 0 to 1, as a curve.",
            low=0,
            high=1,
        ),
        NukeKnob(
            "doubtful_below",
            DOUBLE,
            "doubtful below",
            "Frames with a lower confidence are doubtful, and frames without a face or with an interpolated one.",
            "0.5",
            low=0,
            high=1,
        ),
        make_button(
            "previous_doubtful",
            "< doubtful",
            "previous_doubtful",
            "Shows the nearest doubtful frame before this one.",
            "+STARTLINE",
        ),
        make_button(
            "next_doubtful",
            "doubtful >",
            "next_doubtful",
            "Shows the nearest doubtful frame after this one.",
            "-STARTLINE",
        ),
        NukeKnob("drawing", STRING, "", "", flags=hidden),
        NukeKnob("drawing_first", INT, "", "", "0", flags=hidden),
        NukeKnob("drawing_last", INT, "", "", "0", flags=hidden),
        make_line(),
    ]


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


def make_render_knobs(status: str = "not rendered yet", alone_help: str = ALONE_HELP) -> list[NukeKnob]:
    """The knobs at the top of every node that renders.

    Args:
        status: Text of the status before the first render.
        alone_help: Tooltip of the switch `only this node`.
    """
    return [
        make_button(
            "render",
            "Render",
            "render",
            "Renders the frames that the menu names. The FSGAN nodes upstream are rendered first. Frames that are up "
            "to date are kept.",
            "+STARTLINE",
        ),
        NukeKnob(
            CHOICE_KNOB,
            ENUM,
            "",
            "What Render makes. current frame: the viewer's. range: the knob 'range' below. input range: all frames of "
            "the target. from here on: the range from the viewer's frame to its end. every 10th frame: a first look at "
            "the range. custom...: asks for frames.",
            items=FRAME_CHOICES,
            flags=("-STARTLINE",),
        ),
        make_button(
            "cancel",
            "Cancel",
            "cancel",
            "Stops the render after the current frame. Finished frames are kept.",
            "-STARTLINE",
            "+DISABLED",
        ),
        NukeKnob(
            "frames",
            STRING,
            "range",
            "Frames of this shot, for example 1001-1048x2,1060. Empty uses the target's frames.",
        ),
        NukeKnob(ALONE_KNOB, BOOL, "only this node", alone_help, "false", flags=("-STARTLINE",)),
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


MIXING_KNOBS = (
    NukeKnob(
        "channels",
        LINK,
        "channels",
        "Channels that the result replaces. No render needed.",
        text="Mix.channels",
    ),
    NukeKnob(
        "maskChannel",
        LINK,
        "mask",
        "Channel of the input 'mask' that limits the result. No render needed.",
        text="MaskChannel.from0",
    ),
    NukeKnob(
        "invert_mask",
        LINK,
        "invert",
        "Show the result where the mask input is black instead. No render needed.",
        text="Mix.invertMask",
        flags=("-STARTLINE",),
    ),
    NukeKnob(
        "mix", LINK, "mix", "Opacity of the result: 0 is the target, 1 the result. No render needed.", text="Mix.mix"
    ),
    NukeKnob(
        "bbox",
        LINK,
        "bbox",
        "Bounding box of the output. B side: the target's. A side: that of the rendered frame. union: both.",
        text="Mix.bbox",
    ),
    make_line(),
)

HOLDOUT_KNOB = NukeKnob(
    "holdout_channel",
    CHANNEL,
    "holdout",
    "Channel of the input 'holdout'; the target is kept where it is 1. Any other channel than rgba.alpha is first "
    "written to files by Nuke.",
    "rgba.alpha",
)
