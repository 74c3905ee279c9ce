#!/usr/bin/env python3
"""Makes the gizmos beside this file from the contract's declarations: `python3 gizmos/make.py`.

Standard library only. A test fails if the committed files differ from what this script makes.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

GIZMO_FOLDER = Path(__file__).resolve().parent
sys.path[:0] = [str(GIZMO_FOLDER.parent), str(GIZMO_FOLDER.parent / "nuke_plugin"), str(GIZMO_FOLDER)]

from fsgan_nuke.knobs import (  # noqa: E402
    BBOX,
    DOUBLE,
    FILE,
    LINK,
    TEXT,
    XY,
    NukeKnob,
    make_stage_knobs,
)
from gizmo import Gizmo  # noqa: E402
from inner_nodes import format_node, make_analyse_body, make_final_body, make_mix_lines, make_stage_body  # noqa: E402
from knob_lines import make_button, make_group, make_tab  # noqa: E402
from output_knobs import (  # noqa: E402
    FILES_NAME_KNOB,
    LAYERS_BUTTON,
    STEREO_VIEWS_KNOB,
    VERSION_KNOB,
    make_consent_knobs,
    make_info_knobs,
    make_output_knobs,
    make_report_knobs,
)
from panel_knobs import (  # noqa: E402
    HOLDOUT_KNOB,
    MIXING_KNOBS,
    add_atlas_button,
    make_drawing_knobs,
    make_engine_knobs,
    make_likeness_knobs,
    make_network_knobs,
    make_offset_knobs,
    make_preset_knobs,
    make_render_knobs,
    make_reset_button,
    make_views_knobs,
)
from toolsets import make_toolsets  # noqa: E402

NO_EFFECT_IN_DRIVE = ("keep_glasses",)  # there glasses move with the face
SWAP_ALONE_HELP = (
    "Off: Render also renders the FSGAN nodes upstream of this one. On: only the stages inside this node are rendered."
)


def make_analyse() -> Gizmo:
    """The node that analyses a clip."""
    tracks = [
        make_tab("tracks_tab", "Tracks"),
        NukeKnob("track", FILE, "track file", "JSON file of the track. Empty keeps it beside the script."),
        STEREO_VIEWS_KNOB,
        VERSION_KNOB,
        FILES_NAME_KNOB,
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
        NukeKnob("face_box", BBOX, "face box", "Box around the face, as curves; for a Crop, for example."),
        NukeKnob("face_size", DOUBLE, "face width (px)", "Width of the face's box, as a curve.", low=0, high=1000),
        NukeKnob(
            "yaw", DOUBLE, "yaw (degrees)", "Above 0 the face is turned to the right of the picture.", low=-90, high=90
        ),
        NukeKnob("pitch", DOUBLE, "pitch (degrees)", "Above 0 the face looks up.", low=-90, high=90),
        NukeKnob(
            "roll", DOUBLE, "roll (degrees)", "Above 0 the head is tilted clockwise in the picture.", low=-180, high=180
        ),
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
            *make_drawing_knobs(),
            *make_stage_knobs("analyse"),
            *make_stage_knobs("output", only=("interlaced",)),
            make_reset_button("analyse"),
            make_tab("colour_tab", "Colour"),
            *make_stage_knobs("colour", only=("exposure",)),
            *tracks,
            *make_info_knobs("track-file.md"),
        ),
        make_analyse_body(),
        ("target",),
        role="analysis",
    )


def make_stage(
    name: str, title: str, stage_name: str, inputs: Sequence[str], layers: Sequence[str], help: str
) -> Gizmo:
    """A node of one stage before the blend."""
    views = [*make_likeness_knobs(), *make_views_knobs()] if stage_name == "reenact" else []
    knobs = (
        make_tab(f"{stage_name}_tab", title),
        *make_render_knobs(),
        *([HOLDOUT_KNOB] if "holdout" in inputs else []),
        *make_preset_knobs(),
        *make_engine_knobs(stage_name),
        *add_atlas_button(make_stage_knobs(stage_name, exclude=("engine",), group="")),
        *views,
        make_reset_button(stage_name),
        *make_network_knobs(stage_name),
        *make_output_knobs(*make_stage_knobs("output", only=("compression", "interlaced"))),
        *make_info_knobs("stages.md"),
    )
    role = "matte" if stage_name == "mask" else "picture"
    return Gizmo(name, help, knobs, make_stage_body(inputs, layers), tuple(inputs), role)


def make_blend() -> Gizmo:
    """The node that blends."""
    inputs = ("target", "completed", "mattes", "holdout", "mask")
    knobs = (
        make_tab("blend_tab", "Blend"),
        *make_render_knobs(),
        *MIXING_KNOBS,
        HOLDOUT_KNOB,
        *make_preset_knobs(),
        *make_engine_knobs("blend"),
        *make_stage_knobs("blend", exclude=("engine", "mix"), group=""),
        make_reset_button("blend"),
        *make_network_knobs("blend"),
        *make_output_knobs(
            *make_stage_knobs("output", only=("compression", "depth", "layers")),
            LAYERS_BUTTON,
            *make_stage_knobs("output", only=("interlaced",)),
            *make_report_knobs(),
        ),
        *make_info_knobs("stages.md"),
    )
    return Gizmo(
        "FSGAN_Blend",
        "Blends the completed face into the target: matches light, sharpness and grain, and blends the edge. Nothing "
        "outside the matte changes. Channels, mix and mask need no render.",
        knobs,
        make_final_body(inputs),
        inputs,
        "merge",
    )


def make_drive() -> Gizmo:
    """The node of a drive."""
    inputs = ("target", "driver", "holdout", "mask")
    knobs = (
        make_tab("drive_tab", "Drive"),
        *make_render_knobs(),
        *MIXING_KNOBS,
        HOLDOUT_KNOB,
        *make_stage_knobs("drive"),
        make_reset_button("drive"),
        make_tab("mask_tab", "Mask"),
        *make_stage_knobs("mask", "mask_", exclude=NO_EFFECT_IN_DRIVE, group=""),
        make_reset_button("mask", "mask_"),
        *make_output_knobs(
            *make_stage_knobs("output", only=("compression", "depth", "layers")),
            LAYERS_BUTTON,
            *make_stage_knobs("output", only=("interlaced",)),
            *make_report_knobs(),
        ),
        *make_info_knobs("drive.md"),
    )
    return Gizmo(
        "FSGAN_Drive",
        "Gives the plate's own actor the expression of a driver. One render does all stages; set Output > layers to "
        "all to get their layers too.",
        knobs,
        make_final_body(inputs),
        inputs,
        "whole",
    )


def make_swap() -> Gizmo:
    """All four stages, connected; its knobs link to theirs."""
    inputs = ("target", "source", "holdout", "mask")
    made = {gizmo.name: gizmo for gizmo in (REENACT_GIZMO, MASK_GIZMO, INPAINT_GIZMO, make_blend())}
    knobs: list[NukeKnob] = [
        make_tab("swap_tab", "Swap"),
        *make_render_knobs(alone_help=SWAP_ALONE_HELP),
        *(NukeKnob(**{**knob.__dict__, "name": knob.name and f"live_{knob.name}"}) for knob in MIXING_KNOBS),
        HOLDOUT_KNOB,
        *make_preset_knobs(),
    ]
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
            is_open=False,
        )
        links.append(make_reset_button(inner.lower()))
    links += [
        make_tab("network_tab", "Network"),
        *(
            NukeKnob(knob.name, LINK, knob.label, knob.tooltip, text=f"Blend.{knob.name}")
            for knob in make_stage_knobs("weights", "weights_")
        ),
    ]
    links.append(make_tab("output_tab", "Output"))
    for knob in made["FSGAN_Blend"].knobs:
        if knob.name in (LAYERS_BUTTON.name, "open_report", "reload", "files_size", "clear_files"):
            links.append(knob)
        if knob.name in SWAP_OUTPUT_KNOBS:
            link = NukeKnob(knob.name, LINK, knob.label, knob.tooltip, text=f"Blend.{knob.name}", flags=knob.flags)
            links.append(knob if knob.group else link)
    # Nuke saves a value inside a gizmo only if a knob of the gizmo links to it.
    for inner in ("Reenact", "Mask", "Inpaint", "Blend"):
        links += [
            NukeKnob(f"{inner.lower()}_{name}", LINK, "", text=f"{inner}.{name}", flags=("+INVISIBLE",))
            for name in (*SHOWN_KNOBS, *(("output_file",) if inner != "Blend" else ()))
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
        *make_mix_lines(inputs, "BLENDED"),
        format_node("Output", name="Output1", xpos="0", ypos="700"),
    ]
    return Gizmo(
        "FSGAN_Swap",
        "Puts the source's face on the target's head: reenact, mask, inpaint and blend in one node. Open the group to "
        "put your own nodes between the stages.",
        (*knobs, *links, *make_info_knobs("stages.md")),
        tuple(body),
        inputs,
        "whole",
    )


def _make_links(inner: str, knob: NukeKnob) -> list[NukeKnob]:
    """Knobs of the swap's panel for one knob of an inner node.

    A parameter gets a link. A group, or a knob that the plugin fills, gets a knob of its own.
    """
    name = f"{inner.lower()}_{knob.name}"
    if knob.name in LINKED_KNOBS[inner]:
        return [NukeKnob(name, LINK, knob.label, knob.tooltip, text=f"{inner}.{knob.name}", flags=knob.flags)]
    own = knob.name in ("engine_note", "network_menu") or (knob.group and knob.name not in CONSENT_KNOBS)
    if own:
        return [NukeKnob(**{**knob.__dict__, "name": name})]
    return [knob] if knob.name in ("view_map", "bake_atlas") else []


REENACT_GIZMO = make_stage(
    "FSGAN_Reenact",
    "Reenact",
    "reenact",
    ("target", "source"),
    ("rgba", "st", "confidence", "uv", "matte"),
    "Shows the source's face in the target's pose and expression. Writes it premultiplied, with coordinates into the "
    "source view (st, for an STMap) and into the source's atlas (uv), a confidence, and matte.kept: the plate's own "
    "eyes and inner mouth.",
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
SHOWN_KNOBS = ("files_name", "result", "ready", "rendered", "first", "last")
CONSENT_KNOBS = tuple(knob.name for knob in make_consent_knobs())
SWAP_OUTPUT_KNOBS = (
    "output_file",
    "versioned",
    "stereo_views",
    "missing_results",
    "compression",
    "depth",
    "layers",
    "interlaced",
    "report",
    *CONSENT_KNOBS,
)
LINKED_KNOBS = {
    inner: {knob.name for knob in make_stage_knobs(inner.lower(), exclude=("mix",))}
    for inner in ("Reenact", "Mask", "Inpaint", "Blend")
}


def make_gizmos() -> tuple[Gizmo, ...]:
    """All gizmos, in the order of the menu."""
    return (make_analyse(), REENACT_GIZMO, MASK_GIZMO, INPAINT_GIZMO, make_blend(), make_swap(), make_drive())


def make_files() -> dict[str, str]:
    """File name -> text, for every file that this script makes."""
    return {f"{gizmo.name}.gizmo": gizmo.format_file() for gizmo in make_gizmos()} | make_toolsets()


def main() -> None:
    """Writes all files."""
    for name, text in make_files().items():
        (GIZMO_FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        (GIZMO_FOLDER / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
