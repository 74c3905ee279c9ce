"""What a stage gets and what it gives back: one frozen value for the frame, one protocol per stage.

An engine is anything that satisfies the protocol of its stage. An engine without networks is its module: the functions
of `stages.blending` are a `BlendEngine`. An engine with networks is a class that holds them. `render.engines` has the
table of all engines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeAlias

from fsgan_core.faces.face import Face
from fsgan_core.plates.colour import Codec
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.runtime.arrays import Image, Matte, Mesh, Points3D
from fsgan_core.stages.image_ops import pad_plate, to_display, to_perceptual

if TYPE_CHECKING:
    from fsgan_core.contract.params import BlendParams, InpaintParams, MaskParams, ReenactParams
    from fsgan_core.networks.network import Network
    from fsgan_core.stages.allowed_views import ViewRef
    from fsgan_core.stages.drive import DrivenFrame
    from fsgan_core.stages.features.iris import IrisTint
    from fsgan_core.stages.leading_view import FramePlan

Networks: TypeAlias = "Mapping[str, Network]"
"""The networks of an engine by role ("reenact", "mask", "inpaint", "blend")."""

AtlasProjector: TypeAlias = "Callable[[Plate], AtlasPicture]"
"""Projects the source's atlas, when it is needed, to where a reenacted picture says that it lies."""

FurtherViews: TypeAlias = Callable[[], Iterable[Plate]]
"""Renders further views of the source on the region, best first, one at a time as they are taken."""


@dataclass(frozen=True)
class FaceFrame:
    """One face in one frame, as every stage sees it.

    Attributes:
        plate: The whole frame; R, G, B scene-linear in the codec's space.
        face: The face, in coordinates of the plate.
        region: The window that stages work in; it may reach beyond the plate.
        codec: Between scene-linear values and display-like values for this clip.
        holdout: On the region, 1 where nothing may change; None if there is no hold-out.
        make_display: Gives `display` where it may have been made before; None: it is made here.
        look_for_glasses: Tells by the whole clip whether the face wears glasses; None: this frame tells.
    """

    plate: Plate
    face: Face
    region: Window
    codec: Codec
    holdout: Matte | None = None
    make_display: Callable[[], Image] | None = None
    look_for_glasses: Callable[[], bool] | None = None

    @cached_property
    def wears_glasses(self) -> bool | None:
        """What `look_for_glasses` tells."""
        return None if self.look_for_glasses is None else self.look_for_glasses()

    @property
    def pixel_aspect(self) -> float:
        """Width of a pixel over its height."""
        return self.plate.pixel_aspect

    @cached_property
    def display(self) -> Image:
        """Display-like picture of the region, made once; it cannot be written to."""
        picture = self.make_display() if self.make_display else to_display(self.plate, self.region, self.codec)
        picture.setflags(write=False)
        return picture

    @cached_property
    def perceptual(self) -> Image:
        """The region in perceptual steps, made once; it cannot be written to."""
        picture = to_perceptual(pad_plate(self.plate, self.region), self.codec.exposure)
        picture.setflags(write=False)
        return picture


@dataclass(frozen=True)
class SourceView:
    """A picture of the source's face, ready to be warped.

    Attributes:
        display: (height, width, 3) of `window`, display-like; it repeats its border where the source has no pixels.
        matte: 1 where it shows skin, 0 on hair, occluders and background.
        window: The part of the source picture around the face.
        display_window: The whole source picture, which STMaps count by.
        face: The face, in coordinates of the source picture.
        pixel_aspect: Width of a pixel of the source picture over its height.
        filled_window: Where the source has pixels; None if in all of `window`.
        is_mirrored: All of this is the source picture mirrored left for right (`mirrored_view`).
    """

    display: Image
    matte: Matte
    window: Window
    display_window: Window
    face: Face
    pixel_aspect: float = 1.0
    filled_window: Window | None = None
    is_mirrored: bool = False

    @property
    def mesh(self) -> Mesh:
        """The mesh of the face, (478, 3), in coordinates of the source picture."""
        return self.face.get_mesh(self.pixel_aspect)


@dataclass(frozen=True)
class AtlasPicture:
    """The atlas as a frame's region, or a part of it, shows it, evenly lit.

    Attributes:
        picture: (height, width, 3) scene-linear.
        confidence: 0..1, 0 where the atlas is made up.
        painted: 1 where an artist changed it.
        skin: Where everybody has bare skin.
        normals: (height, width, 3) of the skin, square pixels.
    """

    picture: Image
    confidence: Matte
    painted: Matte
    skin: Matte
    normals: Image


@dataclass(frozen=True)
class SeatedFace:
    """A face in its place in the target, before it is mixed in: it does not depend on `blend.mix`.

    Attributes:
        picture: The new face, in perceptual steps.
        target_face: The target, likewise.
        matte: What is mixed by.
        region: The part of the plate that the arrays cover.
    """

    picture: Image
    target_face: Image
    matte: Matte
    region: Window

    @property
    def nbytes(self) -> int:
        """Bytes in memory."""
        return self.picture.nbytes + self.target_face.nbytes + self.matte.nbytes


SeatKeeper: TypeAlias = Callable[[Callable[[], "SeatedFace | None"]], "SeatedFace | None"]
"""Gives a seated face, None if nothing is to change: one that was made before, or what the function makes."""


@dataclass(frozen=True)
class BlendedPlate:
    """The result of the last stage.

    Attributes:
        plate: The whole target with the new face.
        matte: On the region, what the face was mixed by; 0 means that the pixel is the target's, bit for bit.
    """

    plate: Plate
    matte: Matte


class ReenactEngine(Protocol):
    """Renders the source's face in the target's pose and expression."""

    def reenact(
        self,
        frame: FaceFrame,
        *,
        plan: FramePlan,
        views: Mapping[ViewRef, SourceView],
        params: ReenactParams,
        likeness: Points3D | None = None,
        iris_tint: IrisTint | None = None,
    ) -> Plate:
        """Renders the face on the region.

        Args:
            frame: The target's frame.
            plan: Which views, with which weights.
            views: The pictures of at least those views.
            params: The stage's parameters.
            likeness: (478, 3) mm, the source's proportions minus the target's; None if they are not used.
            iris_tint: Gives the target's irises the source's colour; None leaves them.

        Returns:
            R, G, B, A premultiplied in the codec's space, st.u, st.v, confidence.Z, matte.kept.
        """
        ...


class MaskEngine(Protocol):
    """Finds what of the target is replaced, and what lies in front of it."""

    def measure_mattes(self, frame: FaceFrame, *, params: MaskParams) -> Plate:
        """Measures the mattes of one frame by itself, on the region, not yet smoothed over time.

        The result is an input of `combine_mattes`; beside the four mattes it may hold further channels.
        """
        ...

    def combine_mattes(
        self, frame: FaceFrame, *, neighbours: Sequence[tuple[Face, Plate]], params: MaskParams
    ) -> Plate:
        """Combines the measured mattes of neighbouring frames to the mask of one frame.

        Args:
            frame: The target's frame.
            neighbours: Face and measured mattes of the frames to average, this frame among them.
            params: The stage's parameters.

        Returns:
            matte.face, matte.hair, matte.mouth, matte.occlusion on the region, each 0..1.
        """
        ...


class InpaintEngine(Protocol):
    """Completes what the matte calls face and the reenacted picture does not show."""

    def inpaint(
        self,
        frame: FaceFrame,
        *,
        reenacted: Plate,
        mattes: Plate,
        further_views: FurtherViews,
        params: InpaintParams,
        atlas: AtlasProjector | None = None,
    ) -> Plate:
        """Completes the face on the region.

        Args:
            frame: The target's frame.
            reenacted: The picture of the reenact stage, on the region.
            mattes: The mask, on the region.
            further_views: Called only if something is missing.
            atlas: Called only if something is still missing after these views; None fills nothing from the atlas.
            params: The stage's parameters.

        Returns:
            R, G, B, A premultiplied in the codec's space (A says how much of the face is new), matte.completed,
            matte.kept.
        """
        ...


class BlendEngine(Protocol):
    """Seats the completed face in the plate."""

    def blend(
        self, frame: FaceFrame, *, completed: Plate, mattes: Plate, params: BlendParams, keep: SeatKeeper
    ) -> BlendedPlate:
        """Blends the face into the plate.

        Args:
            frame: The target's frame.
            completed: The picture of the inpaint stage, on the region.
            mattes: The mask, on the region.
            params: The stage's parameters.
            keep: Gives the seated face if it was made before; an engine need not ask it.

        Returns:
            The whole plate with the new face, and the soft matte that it was mixed by.
        """
        ...


class DriveEngine(Protocol):
    """Moves the plate's own face as a driver performs; stands in for reenact, and adapts the mask."""

    def drive_picture(
        self,
        frame: FaceFrame,
        *,
        driven: DrivenFrame,
        measured: Plate,
        views: Mapping[ViewRef, SourceView],
        params: MaskParams,
    ) -> Plate:
        """Renders the driven face on the region.

        Args:
            frame: The plate's frame.
            driven: Where the face goes, and which parts come from other frames.
            measured: The mattes of this frame by itself, on the region (`MaskEngine.measure_mattes`).
            views: The pictures that `driven.patches` name.
            params: The parameters of the mask.

        Returns:
            R, G, B, A premultiplied in the codec's space, st.u, st.v, confidence.Z.
        """
        ...

    def drive_mattes(self, frame: FaceFrame, *, driven: DrivenFrame, mattes: Plate, params: MaskParams) -> Plate:
        """Adapts the mask of a frame to the driven face.

        Args:
            frame: The plate's frame.
            driven: Where the face goes.
            mattes: The mask of the frame, on the region (`MaskEngine.combine_mattes`).
            params: The parameters of the mask.

        Returns:
            The mask with matte.face where the picture changes.
        """
        ...
