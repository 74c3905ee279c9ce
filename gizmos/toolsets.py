"""Node trees to start a job from, as text to paste. Nuke fills its ToolSets menu from folders of this name."""

from __future__ import annotations

from inner_nodes import format_node
from knob_lines import quote_text

FOLDER = "ToolSets/FSGAN"
HEADER = ("#! FSGAN, made by gizmos/make.py", "set cut_paste_input [stack 0]")


def _make_note(text: str, xpos: int, ypos: int) -> str:
    """What to do with a tree, step by step."""
    return format_node(
        "StickyNote", 0, name="Steps", label=quote_text(text), note_font_size="14", xpos=str(xpos), ypos=str(ypos)
    )


def _make_clip(name: str, label: str, stored: str, xpos: int) -> list[str]:
    """A Read with an FSGAN_Analyse below it, stored under a name."""
    return [
        format_node("Read", 0, name=name, label=quote_text(label), xpos=str(xpos), ypos="0"),
        format_node("FSGAN_Analyse", name=f"Analyse{name}", xpos=str(xpos), ypos="120"),
        f"set {stored} [stack 0]",
    ]


def _make_write(ypos: int, channels: str = "all") -> str:
    return format_node("Write", file_type="exr", channels=channels, name="Write", xpos="0", ypos=str(ypos))


def make_example() -> list[str]:
    """All stages as nodes of their own."""
    return [
        *_make_clip("Source", "the person whose face is used", "SOURCE", 250),
        *_make_clip("Target", "the plate to change", "TARGET", 0),
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
        _make_write(640),
    ]


def make_swap_tree() -> list[str]:
    """One person's face on another's head."""
    return [
        _make_note(
            "1 Name the clips in Source and Target, and save the script.\n2 Press Analyse on both FSGAN_Analyse.\n"
            "3 Press Render on Swap.",
            -320,
            0,
        ),
        *_make_clip("Source", "the person whose face is used", "SOURCE", 250),
        *_make_clip("Target", "the plate to change", "TARGET", 0),
        "push $SOURCE",
        "push $TARGET",
        format_node("FSGAN_Swap", 2, name="Swap", xpos="0", ypos="260"),
        _make_write(400),
    ]


def make_drive_tree() -> list[str]:
    """The plate's actor with another performer's expression."""
    return [
        _make_note(
            "1 Name the clips in Driver and Target, and save the script.\n2 Press Analyse on both FSGAN_Analyse.\n"
            "3 On Drive, set how much of brows, eyes, mouth and jaw is used; you can key them. Press Render.",
            -320,
            0,
        ),
        *_make_clip("Driver", "the performer", "DRIVER", 250),
        *_make_clip("Target", "the actor in the plate", "TARGET", 0),
        "push $DRIVER",
        "push $TARGET",
        format_node("FSGAN_Drive", 2, name="Drive", xpos="0", ypos="260"),
        _make_write(400),
    ]


def make_fix_tree() -> list[str]:
    """A swap, and a correction made of its layers: it needs no new render."""
    channels = {
        word: f"{source}.{channel}"
        for place, channel in enumerate(("red", "green", "blue", "alpha"))
        for word, source in ((f"from{place}", "completed"), (f"to{place}", "rgba"))
    }
    return [
        _make_note(
            "1 Name the clips in Source and Target, save the script, press Analyse on both FSGAN_Analyse, and press "
            "Render on Swap.\n2 Press Swap > Output > Read layers, and connect Layers to the Read that it makes.\n"
            "3 Grade the new face in GradeFace, and draw where the grade is used in FixHere. No render is needed.\n"
            "To add another layer, use Copy: reenacted, matte, confidence, st, uv.",
            -320,
            0,
        ),
        *_make_clip("Source", "the person whose face is used", "SOURCE", 250),
        *_make_clip("Target", "the plate to change", "TARGET", 0),
        "push $SOURCE",
        "push $TARGET",
        format_node("FSGAN_Swap", 2, name="Swap", layers="all", xpos="0", ypos="260"),
        "set SWAP [stack 0]",
        format_node("Roto", 0, name="FixHere", output="alpha", xpos="750", ypos="300"),
        "set FIX [stack 0]",
        "push 0",
        format_node("Dot", name="Layers", label='"connect the Read of the layers"', xpos="500", ypos="260"),
        "set LAYERS [stack 0]",
        "push $LAYERS",
        format_node("Copy", 2, **channels, name="CompletedFace", xpos="466", ypos="320"),
        format_node("Grade", unpremult="rgba.alpha", name="GradeFace", xpos="466", ypos="380"),
        "set FACE [stack 0]",
        "push $FIX",
        "push $FACE",
        "push $SWAP",
        format_node("Keymix", 3, channels="rgb", bbox="B", name="Fix", xpos="0", ypos="460"),
        _make_write(560, "rgba"),
    ]


def make_atlas_tree() -> list[str]:
    """A swap whose source is painted once for all frames."""
    return [
        _make_note(
            "1 Name the clips in Source and Target, save the script, and press Analyse on both FSGAN_Analyse.\n"
            "2 Press Bake atlas on Swap > Reenact. Connect PaintHere to the Read that it makes, and paint on R, G, B.\n"
            "3 Name a file in WriteAtlas, and render it.\n4 Name that file in Swap > Reenact > atlas. Press Render on "
            "Swap.",
            -320,
            0,
        ),
        *_make_clip("Source", "the person whose face is used", "SOURCE", 250),
        *_make_clip("Target", "the plate to change", "TARGET", 0),
        "push $SOURCE",
        "push $TARGET",
        format_node("FSGAN_Swap", 2, name="Swap", xpos="0", ypos="260"),
        _make_write(400),
        "push 0",
        format_node("RotoPaint", name="PaintHere", xpos="500", ypos="260"),
        format_node(
            "Write",
            file_type="exr",
            channels="all",
            datatype='"32 bit float"',
            raw="true",
            name="WriteAtlas",
            xpos="500",
            ypos="400",
        ),
    ]


TREES = {
    "Example": make_example,
    "Swap": make_swap_tree,
    "Drive": make_drive_tree,
    "Fix_by_layers": make_fix_tree,
    "Atlas_painting": make_atlas_tree,
}


def make_toolsets() -> dict[str, str]:
    """File name -> text of every tree."""
    return {
        f"{FOLDER}/{name}.nk": "\n".join([*(line.strip() for line in (*HEADER, *make_tree())), ""])
        for name, make_tree in TREES.items()
    }
