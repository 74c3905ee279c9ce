"""Names what has changed since a frame was written: in the metadata, and in words for an artist."""

from __future__ import annotations

from collections.abc import Mapping

PART_UNKNOWN = "unknown"
PART_OTHER = "other"
# For an artist: the meaning of names that are not parameters.
LABELS: Mapping[str, str] = {
    "program": "another version of fsgan",
    "colour": "colour space, or what OCIO does with it",
    "target": "the target's frames",
    "track": "the target's track",
    "exposure": "exposure of the target",
    "source": "the source's frames",
    "source_track": "the source's track",
    "views": "choice of source views",
    "likeness": "the source's proportions",
    "irises": "frames that show the colour of the eyes",
    "glasses": "frames that show whether the target wears glasses",
    "source_glasses": "frames that show whether the source wears glasses",
    "atlas": "the source's atlas",
    "driver": "the driver's performance",
    "holdout": "the hold-out",
    "damaged": "the file is damaged",
    "input": "an input is missing",
    "analysis": "never analysed as it is now",
    "quick": "a quick look, without the analysis of the whole clip",
    PART_UNKNOWN: "not known",
    PART_OTHER: "something else",
}


def format_parts(parts: Mapping[str, str]) -> str:
    """Formats parts for the metadata.

    >>> format_parts({"target": "00ab12", "blend.mix": "3fa201"})
    'blend.mix:3fa201 target:00ab12'
    """
    return " ".join(f"{name}:{short}" for name, short in sorted(parts.items()))


def find_changed_parts(text: str, parts: Mapping[str, str]) -> tuple[str, ...]:
    """Finds the dependencies that have changed since a file was written.

    Args:
        text: The file's metadata, as `format_parts` writes it.
        parts: What the file should have.

    Returns:
        Names, what somebody has set before what follows from it; never empty.

    >>> find_changed_parts("reenact.exclude:3fa201 irises:00ab12", {"irises": "00ab13"})
    ('reenact.exclude', 'irises')
    """
    file_parts = dict(part.split(":", 1) for part in text.split() if ":" in part)
    if not file_parts:
        return (PART_UNKNOWN,)
    changed = [name for name in {*file_parts, *parts} if file_parts.get(name) != parts.get(name)]
    return tuple(sorted(changed, key=lambda name: ("." not in name, name))) or (PART_OTHER,)


def describe_parts(parts: tuple[str, ...]) -> str:
    """Describes changed parts for an artist.

    >>> describe_parts(("blend.mix", "track", "files.mask"))
    "blend.mix, the target's track, the files of mask"
    """
    texts = []
    for part in parts:
        kind, _, name = part.partition(".")
        texts.append(f"the files of {name}" if kind == "files" else LABELS.get(part, part))
    return ", ".join(texts)
