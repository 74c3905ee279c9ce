"""Parameters of output: how frames are written, and what a missing or interlaced input frame means."""

from __future__ import annotations

from dataclasses import dataclass

from fsgan_core.contract.param_fields import Params, declare_choice

COMPRESSIONS = ("none", "rle", "zips", "zip", "piz", "pxr24", "b44", "b44a", "dwaa", "dwab")  # of EXR files
DEPTHS = ("auto", "half", "float")  # number formats of EXR files
MISSING_POLICIES = ("error", "hold", "skip")  # what a missing input frame means
INTERLACED_MODES = ("deinterlace", "keep")  # what becomes of interlaced frames of a movie


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
        "STMaps as layers.",
    )
    missing: str = declare_choice(
        "error",
        MISSING_POLICIES,
        "missing frames",
        "What to do if an input frame is missing. error: stop. hold: use the last frame before it, or the first one if "
        "there is none before. skip: write no frame.",
    )
    interlaced: str = declare_choice(
        "deinterlace",
        INTERLACED_MODES,
        "interlaced movies",
        "What to do with interlaced frames of a movie. deinterlace: turn each into a progressive frame. keep: leave "
        "both fields in it.",
    )
