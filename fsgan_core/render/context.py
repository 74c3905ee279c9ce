"""What the pictures, keys and provenance of one job have in common: its inputs, scenes and engines."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from fsgan_core.clips.inputs import ClipInput, JobInputs
from fsgan_core.contract.errors import TrackError
from fsgan_core.contract.shot import Stages
from fsgan_core.plates.plate import Window
from fsgan_core.plates.region import compute_region
from fsgan_core.render.engines import NetworkRuntime, StageEngines, choose_engines, draws_whole_face
from fsgan_core.render.scene import Scene
from fsgan_core.stages.allowed_views import ViewRef
from fsgan_core.stages.drive import compute_drive_margin

__all__ = ["BAD_PIXELS", "BRIDGED", "FLAG_MEANINGS", "HELD", "NO_FACE", "QUICK", "RenderContext", "make_context"]

# Flags of a frame.
NO_FACE = "no-face"
QUICK = "quick"
BRIDGED = "bridged"
HELD = "held"
BAD_PIXELS = "bad-pixels"


FLAG_MEANINGS: Mapping[str, str] = {
    HELD: "no file of the target; the last frame before it is used, or the first one if there is none before "
    "(output.missing=hold)",
    BAD_PIXELS: "the plate has NaN or infinite pixels around the face; they are replaced inside the matte only",
    "driver-held": "outside the driver's clip; its first or last frame is held",
    "turn-limited": "the driver turns further than a single picture of a head can be turned",
    "pose-clamped": "the head turns further than any source view; the nearest pose was used",
    "small-source": "the source's face is enlarged more than 2.5 times and looks soft; use a source with a larger face",
    QUICK: "only these frames were analysed, without smoothing; render without the quick look for the final picture",
    BRIDGED: "the face was not detected there and is interpolated from the frames around",
}


@dataclass(frozen=True)
class RenderContext:
    """One job, as far as a frame's picture depends on it.

    Attributes:
        inputs: Opened clips, colour configuration and parameters.
        get_scene: Gives the scene of a frame.
        engines: The engine of every stage.
        upstream: Stage -> its files, which are read in place of rendering the stage.
        is_quick: Whether only the frames that are rendered were analysed.
    """

    inputs: JobInputs
    get_scene: Callable[[int], Scene]
    engines: StageEngines
    upstream: Mapping[str, ClipInput]
    is_quick: bool = False

    def has_face(self, frame: int) -> bool:
        """Tells whether a frame has a face. Raises TrackError for a frame that was not analysed."""
        scene = self.get_scene(frame)
        if frame not in scene.analysed_frames:
            raise TrackError(f"frame {frame} is not in the track {self.inputs.target.clip.track}; analyse it as well")
        return frame in scene.faces

    def is_driven(self, frame: int) -> bool:
        """Tells whether a driver moves the face of this frame."""
        return frame in self.get_scene(frame).driven_frames

    def get_region(self, frame: int) -> Window:
        """Computes the window in which all stages work."""
        scene = self.get_scene(frame)
        margin = self.inputs.stages.reenact.margin
        if scene.driven_frames:
            margin = max(margin, compute_drive_margin(self.inputs.stages.drive))
        return compute_region(scene.faces[frame].box, margin, scene.pixel_aspect)

    def get_stages(self, frame: int) -> Stages:
        """Gives the parameters of every stage at a frame.

        What belongs to one frame reads these. `inputs.stages` may hold curves; it is for what spans the clip.
        """
        return self.inputs.stages.at_frame(frame)

    def get_params(self, stage: str, frame: int) -> Any:
        """Gives a stage's parameters at a frame, with the engine that was chosen in place of "auto"."""
        return getattr(self.inputs.stages, stage).at_frame(frame).replace(engine=self.engines[stage].name)

    def list_neighbours(self, frame: int) -> list[int]:
        """Lists the frames that the matte of a frame is averaged with, itself among them; none if it has no face."""
        faces = self.get_scene(frame).faces
        if frame not in faces:
            return []
        available = self.inputs.target.sequence.frames
        reach = self.get_stages(frame).mask.smooth
        return [
            neighbour
            for neighbour in range(frame - reach, frame + reach + 1)
            if neighbour == frame or (neighbour in faces and _contains_sorted(available, neighbour))
        ]

    def list_further_views(self, frame: int) -> tuple[ViewRef, ...]:
        """Lists the views from which inpainting may fill what the first ones do not show, best first.

        Empty if the artist has switched it off, if the stage runs without a source, or if a network draws the whole
        face: then another view shows no more of it.
        """
        plans = self.get_scene(frame).frame_plans
        stages = self.inputs.stages
        if frame not in plans or not stages.inpaint.other_views:
            return ()
        if draws_whole_face(self.engines.reenact, stages.reenact.prewarp) and not self.is_driven(frame):
            return ()
        return plans[frame].further_views

    def uses_atlas(self, frame: int) -> bool:
        """Tells whether inpainting may fill from the source's atlas; conditions as for `list_further_views`."""
        scene, stages = self.get_scene(frame), self.inputs.stages
        if scene.atlas is None or not stages.inpaint.from_atlas or self.is_driven(frame):
            return False
        return not draws_whole_face(self.engines.reenact, stages.reenact.prewarp)

    def list_flags(self, frame: int) -> tuple[str, ...]:
        """Lists what is worth knowing about a frame: "quick", "no-face", "bridged", what the choice of views found."""
        scene = self.get_scene(frame)
        flags = [QUICK] if self.is_quick else []
        if frame not in scene.faces:
            return (*flags, NO_FACE)
        flags += [BRIDGED] if scene.faces[frame].origin == BRIDGED else []
        if frame in scene.frame_plans:
            flags += scene.frame_plans[frame].flags
        return tuple(flags)


def make_context(
    inputs: JobInputs,
    get_scene: Callable[[int], Scene],
    upstream: Mapping[str, ClipInput] | None = None,
    *,
    is_quick: bool = False,
) -> RenderContext:
    """Makes the context of a job; raises as `choose_engine`."""
    runtime = NetworkRuntime(inputs.device, inputs.stages.weights.precision)
    return RenderContext(inputs, get_scene, choose_engines(inputs.stages, runtime), dict(upstream or {}), is_quick)


def _contains_sorted(frames: Sequence[int], frame: int) -> bool:
    index = bisect_left(frames, frame)
    return index < len(frames) and frames[index] == frame
