"""The nodes inside a gizmo, as text: Reads and Writes, layers over the target, mix and mask.

They are connected through a stack: a node takes its inputs from the top; the last one pushed is input 0.
"""

from __future__ import annotations

from collections.abc import Sequence

PICTURE_INPUTS = ("target", "source", "driver", "holdout")


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
                    # Of these inputs only the picture is used; the others have mattes and coordinates in layers.
                    channels="rgba" if name in PICTURE_INPUTS else "all",
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
        origset="true",
        localizationPolicy="off",  # frames change while the script is open
        before="black",
        after="black",
        on_error="{{1-(parent.missing_results==1)}}",  # error, or black
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
        *make_mix_lines(inputs, "RESULT"),
        "set PICTURE [stack 0]",
        "push $IN_target",
        "push $PICTURE",
        *_make_output_lines("400"),
    )


def make_mix_lines(inputs: Sequence[str], picture: str) -> tuple[str, ...]:
    """The stored `picture` over the target, through the node `Mix` and the mask input if it is connected."""
    connected = f'{{{{"\\[exists parent.input{list(inputs).index("mask")}]"}}}}'
    return (
        "push $IN_mask",
        "push $IN_mask",
        format_node("Copy", 2, from0="rgba.alpha", to0="rgba.alpha", name="MaskChannel", xpos="600", ypos="500"),
        format_node("Constant", 0, channels="rgba", color="1", name="Everywhere", xpos="400", ypos="500"),
        format_node("Switch", 2, which=connected, name="MaskOrAll", xpos="400", ypos="560"),
        "set MASK [stack 0]",
        "push $MASK",
        f"push ${picture}",
        "push $IN_target",
        format_node("Keymix", 3, channels="rgb", bbox="B", name="Mix", xpos="0", ypos="620"),
    )


def _make_output_lines(ypos: str) -> tuple[str, ...]:
    """Ends a body: the top of the stack if this frame is rendered, else the item below it, which is the target.

    With `missing frames` at error or black, a frame that is missing between rendered ones comes from the Read instead.
    """
    which = "{{parent.ready==0||parent.missing_results==0&&parent.rendered==0}}"
    return (
        format_node("Switch", 2, which=which, name="Shown", xpos="0", ypos=str(int(ypos) + 400)),
        format_node("Output", name="Output1", xpos="0", ypos=str(int(ypos) + 480)),
    )


# Knob that shows a matte of the drawing -> its channel, colour and strength.
DRAWN_MATTES = {
    "draw_mesh": ("rgba.blue", "0.1 0.4 1 1", 0.5),
    "draw_box": ("rgba.red", "1 0.5 0.05 1", 1),
    "draw_landmarks": ("rgba.green", "0.1 1 0.2 1", 1),
    "draw_pose": ("rgba.alpha", "1 0.1 0.8 1", 1),
}


def make_analyse_body() -> tuple[str, ...]:
    """Passes the target through; in a session with a GUI, with the drawing of the track over it if that is on."""
    read = format_node(
        "Read",
        0,
        file_type="exr",
        file='"\\[value parent.drawing]"',
        first="{{parent.drawing_first}}",
        last="{{parent.drawing_last}}",
        origfirst="{{parent.drawing_first}}",
        origlast="{{parent.drawing_last}}",
        origset="true",
        localizationPolicy="off",
        before="black",
        after="black",
        on_error="black",
        raw="true",
        name="Drawing",
        xpos="200",
        ypos="100",
    )
    lines = [*make_input_lines(("target",))[:-2], read, "set DRAWING [stack 0]", "push $IN_target"]
    for number, (knob, (channel, colour, strength)) in enumerate(DRAWN_MATTES.items()):
        lines += [
            "set PICTURE [stack 0]",
            "push $DRAWING",
            format_node("Constant", 0, channels="rgba", color=f"{{{colour}}}", name=f"Colour{number + 1}"),
            "push $PICTURE",
            format_node(
                "Keymix",
                3,
                channels="rgb",
                maskChannel=channel,
                mix=f"{{{{parent.{knob}*{strength}}}}}",
                bbox="B",
                name=f"Draw{number + 1}",
                ypos=str(160 + 60 * number),
            ),
        ]
    return (
        *lines,
        "push $IN_target",
        format_node("Switch", 2, which="{{parent.overlay&&parent.drawing_last>0&&$gui}}", name="Shown", ypos="440"),
        format_node("Output", name="Output1", xpos="0", ypos="520"),
    )
