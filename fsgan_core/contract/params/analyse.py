"""Parameters of analyse: which face, and how it is found and tracked."""

from __future__ import annotations

from dataclasses import dataclass

from fsgan_core.contract.param_fields import (
    Params,
    declare_choice,
    declare_file,
    declare_integer,
    declare_number,
    declare_point,
)

_WITHOUT_DLIB = "it was removed; use auto, which finds what it found (dlib's landmarks are analyse.landmarks=dlib)"


@dataclass(frozen=True)
class AnalyseParams(Params):
    """Finds and tracks the face in a clip: detection, landmarks, head pose."""

    person: str = declare_choice(
        "largest",
        ("largest", "index", "point", "reference"),
        "person",
        "Which person to work on if the clip shows several. largest: the largest face. index: by number. point: the "
        "face nearest to a point. reference: the face most like a still.",
    )
    person_index: int = declare_integer(
        0,
        "index",
        "Number of the person; 0 is the largest face. Used if person is index.",
        minimum=0,
        when=("person", "index"),
    )
    person_point: tuple[float, float] | None = declare_point(
        "point",
        "A point near the face, in pixels counted from the upper left corner of the format (in Nuke from the lower "
        "left). Used if person is point.",
        unit="px",
        when=("person", "point"),
    )
    person_reference: str = declare_file(
        "reference", "Image file that shows the person. Used if person is reference.", when=("person", "reference")
    )
    smooth: float = declare_number(
        1.0,
        "smoothing",
        "Smoothing of landmarks, head pose and region over time. Raise it if the face jitters; lower it if the face "
        "lags behind fast movement. 0 is off.",
        minimum=0.0,
        maximum=4.0,
    )
    gap: int = declare_integer(
        8,
        "bridge gaps",
        "If the face is lost for at most this many frames, its position is interpolated. Raise it if short occlusions "
        "break the track.",
        minimum=0,
        soft_maximum=50,
        unit="frames",
    )
    minimum_size: float = declare_number(
        32.0,
        "smallest face",
        "Faces smaller than this are ignored. Lower it for a person far from the camera; raise it to ignore people in "
        "the background.",
        minimum=0.0,
        soft_maximum=256.0,
        unit="px",
    )
    minimum_confidence: float = declare_number(
        0.15,
        "minimum confidence",
        "Detections with a lower confidence are ignored. Lower it if the face is not found; raise it if something else "
        "is taken for a face.",
        minimum=0.0,
        maximum=1.0,
    )
    detector: str = declare_choice(
        "auto",
        ("auto", "mesh", "sfd", "blazeface"),
        "detector",
        "Face detector. auto is mesh, the networks that come with the package. Try another one if the face is not "
        "found: sfd and blazeface come with the package face-alignment, which downloads their weights at first use.",
        removed=dict.fromkeys(("dlib", "dlib-cnn"), _WITHOUT_DLIB),
    )
    landmarks: str = declare_choice(
        "auto",
        ("auto", "mesh", "hrnet", "fan", "dlib"),
        "landmarks",
        "Landmark detector. mesh: taken from the dense mesh that is measured on every face. hrnet: the published "
        "network, if its weights are installed (98 points; the track keeps them and the 68 made from them). fan: the "
        "network of the package face-alignment. dlib: needs packages that are not installed by default. auto is hrnet "
        "if it is installed, else mesh. With any choice but mesh, the mesh is bent to fit these landmarks.",
    )
    pose: str = declare_choice(
        "auto",
        ("auto", "pnp", "hopenet"),
        "pose",
        "How the head pose is measured. pnp: from the mesh. hopenet: by the published network, if its weights are "
        "installed. auto is pnp.",
    )
