"""What a supervisor should look at: flags, failures and figures beyond their limits, in words, and what to do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from fsgan_core.evaluation.verdicts import LOOK_FACTOR
from fsgan_core.plates.sequence import format_frames
from fsgan_core.render.context import BAD_PIXELS, BRIDGED, FLAG_MEANINGS, HELD, NO_FACE, QUICK
from fsgan_core.report.data import Figure, Remark, ReportFrame
from fsgan_core.runtime.events import FAILED

__all__ = ["get_advice", "make_remarks"]

FAILED_NAME = "failed"
_FLAG_ADVICE: Mapping[str, str] = {
    NO_FACE: "If the plate shows the face there, lower analyse.minimum_confidence or try another analyse.detector. If "
    "it does not, nothing is to be done.",
    BRIDGED: "Step through these frames. If the face slides, place its landmarks by hand in the target's track.",
    "pose-clamped": "Look at the far cheek and the nose. Add source footage that shows this angle; the view map says "
    "which one is lacking.",
    "small-source": "Look at brows, lids and lips at 100 %. Add source footage in which the face is "
    "larger; detail that the source does not have cannot be made.",
    "driver-held": "The driver's clip is too short for the plate. Change drive.offset or drive.speed, or use a longer "
    "clip.",
    "turn-limited": "Lower drive.pose for these frames.",
    HELD: "Deliver the missing frames and render again. These frames change, and others do, too, where the track or "
    "the matte over time reads the new ones: a render finds out which, and keeps the rest.",
    BAD_PIXELS: "Look for holes around the face at 100 %, or mend the plate; `fsgan inspect` counts the pixels.",
    QUICK: "Do not judge how steady the face is yet. Start the same render without the quick look: it renders these "
    "frames again.",
}
_FIGURE_ADVICE: Mapping[str, str] = {
    "identity": "Compare with a still of the source. Add source footage from this angle, or raise reenact.likeness.",
    "gaze": "Look at the eyes at 100 %. If they stray, correct the eyes' landmarks in the target's track.",
    "lids": "Step through the blink. If the lids are late or half open, correct their landmarks in the target's track.",
    "lips": "Look at the mouth at 100 %. Try reenact.inner_mouth, or exclude views with a wrong mouth "
    "(reenact.exclude).",
    "light": "Compare the light in the wipe. Check blend.colour, or choose source views with similar light "
    "(reenact.views).",
    "tone": "Compare the skin in the wipe. Check blend.colour, the colour space of the source, or grade the layer.",
    "euler": "Check the head's outline against the target. Correct the landmarks of these frames in the track.",
    "landmarks": "Check eyes, nose and mouth against the target in the wipe. If they are off, correct the landmarks of "
    "these frames; if only the proportions differ, lower reenact.likeness.",
    "flicker": "Loop these frames at 100 %. Raise analyse.smooth if features jitter, reenact.hold if the look jumps, "
    "mask.smooth if the edge boils.",
    "sharpness_off": "Compare at 100 %. Change blend.sharpness, blend.detail or blend.grain.",
    "ssim": "Compare in the wipe.",
    "edge": "Look at the jaw and forehead. Raise mask.feather or blend.reach, or change mask.size.",
    "outside": "Pixels outside the matte must not change. Please report this.",
}
_FIGURE_REASONS: Mapping[str, str] = {
    "identity": "the face resembles the source too little",
    "gaze": "the eyes look elsewhere than the target's",
    "lids": "the lids are not as far open as the target's",
    "lips": "the lips are not as far open as the target's",
    "light": "light falls on the face differently than on the target's",
    "tone": "the skin has another colour than the target's",
    "euler": "the head is posed differently than the target's",
    "landmarks": "eyes, nose or mouth are not where the target's are",
    "flicker": "the face flickers more than the plate does",
    "sharpness_off": "the face is softer or crisper than the target's",
}
_FLAG_REASONS = {**FLAG_MEANINGS, NO_FACE: "no face of this person was found; these frames are the plate, unchanged"}


def get_advice(name: str) -> str:
    """Gives what to do about frames in which a figure is beyond its limit."""
    return _FIGURE_ADVICE.get(name, "Look at these frames.")


def make_remarks(
    frames: Sequence[ReportFrame], figures: Sequence[Figure], rows: Mapping[int, Mapping[str, float]] | None = None
) -> tuple[Remark, ...]:
    """Makes the list of what to look at, failures first.

    Args:
        frames: All frames.
        figures: Their figures.
        rows: Frame -> values by name. "sharpness", the face's over the target's, says which way it is off.
    """
    return (*_list_failures(frames), *_list_bad_figures(frames, figures, rows or {}), *_list_flags(frames))


def _list_failures(frames: Sequence[ReportFrame]) -> Iterator[Remark]:
    by_message: dict[str, list[int]] = {}
    for frame in frames:
        if frame.state == FAILED:
            by_message.setdefault(frame.message, []).append(frame.number)
    for message, numbers in by_message.items():
        advice = "Mend the cause, then start the same render again: it renders only what is missing."
        yield Remark(FAILED_NAME, tuple(numbers), f"not rendered: {message}", advice)


def _list_bad_figures(
    frames: Sequence[ReportFrame], figures: Sequence[Figure], rows: Mapping[int, Mapping[str, float]]
) -> Iterator[Remark]:
    """Figures beyond their limits; those far beyond it first."""
    found = []
    for figure in figures:
        if figure.limit is None:
            continue
        bad = [place for place, value in enumerate(figure.values) if value is not None and value > figure.limit]
        if not bad:
            continue
        worst = max(figure.measured_values)
        far = worst > figure.ideal + LOOK_FACTOR * (figure.limit - figure.ideal)
        numbers = tuple(frames[place].number for place in bad)
        phrase = _FIGURE_REASONS.get(figure.name, f"{figure.label} is above its limit")
        if figure.name == "sharpness_off":
            phrase = (
                _describe_sharpness({number: rows.get(number, {}).get("sharpness", 1.0) for number in numbers})
                or phrase
            )
        reason = (
            f"{phrase} in {len(bad)} of {len(figure.measured_values)} measured frames; {figure.label} at worst "
            f"{figure.format(worst)} in frame {frames[figure.values.index(worst)].number}, limit "
            f"{figure.format(figure.limit)}"
        )
        found.append((not far, Remark(figure.name, numbers, reason, get_advice(figure.name))))
    yield from (remark for _, remark in sorted(found, key=lambda one: one[0]))


def _describe_sharpness(ratios: Mapping[int, float]) -> str:
    """Says which way the face is off, by frame; empty if that is not known."""
    softer = [number for number, ratio in ratios.items() if ratio < 1]
    crisper = [number for number, ratio in ratios.items() if ratio > 1]
    if softer and crisper:
        return f"the face is softer than the target's ({format_frames(softer)}) or crisper ({format_frames(crisper)})"
    return f"the face is {'softer' if softer else 'crisper'} than the target's" if softer or crisper else ""


def _list_flags(frames: Sequence[ReportFrame]) -> Iterator[Remark]:
    for flag in dict.fromkeys(flag for frame in frames for flag in frame.flags):
        numbers = [frame.number for frame in frames if flag in frame.flags]
        reason = f"{_FLAG_REASONS.get(flag, flag)} ({format_frames(numbers)})"
        yield Remark(flag, tuple(numbers), reason, _FLAG_ADVICE.get(flag, "Look at these frames."))
