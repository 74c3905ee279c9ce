"""The meshes of a track file: a NumPy archive beside the JSON. docs/track-file.md describes it.

The archive's name holds the digest of its content, and the JSON names the archive. So a new archive never replaces the
one that the present JSON needs, and both together are written whole or not at all.
"""

from __future__ import annotations

import contextlib
import hashlib
import math
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fsgan_core.contract.errors import TrackError
from fsgan_core.faces.face import Face
from fsgan_core.faces.mesh import VERTEX_COUNT
from fsgan_core.faces.track import Person
from fsgan_core.runtime.array_files import ARRAY_FILE_ERRORS
from fsgan_core.runtime.arrays import AnyArray, Mesh
from fsgan_core.runtime.atomic import write_atomically

_KINDS = ("measured", "faces")
_MAX_ARCHIVE_BYTES = 4 << 30  # of all meshes, unpacked: some 700,000 faces
_HEAD_BYTES = 65536  # of a track file, that hold the archive's name


@dataclass(frozen=True)
class TrackMeshes:
    """The meshes of a track.

    Attributes:
        arrays: By name: KIND_PERSON_frames, int32 (n,), and KIND_PERSON_meshes, float32 (n, 478, 3); the kind is
            "measured" or "faces".
        digest: Of the content.
    """

    arrays: Mapping[str, AnyArray]
    digest: str

    def get_meshes(self, kind: str, person: int) -> dict[int, Mesh]:
        """Gives the meshes of a person by frame."""
        frames = self.arrays.get(f"{kind}_{person}_frames", np.zeros(0, np.int32))
        meshes = self.arrays.get(f"{kind}_{person}_meshes", np.zeros((0, VERTEX_COUNT, 3), np.float32))
        return {int(frame): mesh.astype(np.float64) for frame, mesh in zip(frames, meshes, strict=True)}


def collect_meshes(people: tuple[Person, ...]) -> TrackMeshes | None:
    """Collects the meshes of a track; None if none was measured."""
    if not any(face.mesh is not None for person in people for face in person.measured.values()):
        return None
    arrays: dict[str, AnyArray] = {}
    for person in people:
        for kind in _KINDS:
            table: Mapping[int, Face] = getattr(person, kind)
            found = {frame: face.mesh for frame, face in table.items() if face.mesh is not None}
            meshes = np.array(list(found.values()), np.float32).reshape(-1, VERTEX_COUNT, 3)
            arrays[f"{kind}_{person.index}_frames"] = np.array(list(found), np.int32)
            arrays[f"{kind}_{person.index}_meshes"] = meshes
    return TrackMeshes(arrays, _compute_digest(arrays))


def name_archive(track_path: Path, meshes: TrackMeshes) -> str:
    """Names the archive of a track file."""
    return f"{track_path.stem}.mesh-{meshes.digest}.npz"


def save_meshes(path: Path, meshes: TrackMeshes) -> None:
    """Writes the archive, whole or not at all.

    Raises:
        OutputError: The file cannot be written.
    """
    with write_atomically(path) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **meshes.arrays)


def load_meshes(path: Path, digest: str) -> TrackMeshes:
    """Reads an archive.

    Raises:
        TrackError: The file is missing, broken, or another one than the track file names.
    """
    advice = "copy it there with the track, or analyse the clip again"
    try:
        if not path.is_file():
            raise FileNotFoundError(path)
        with path.open("rb") as stream:
            _check_archive(stream)
            with np.load(stream, allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise TrackError(f"the meshes of the track are missing: {path}; {advice}") from error
    except ARRAY_FILE_ERRORS as error:
        raise TrackError(f"cannot read the meshes of the track, {path}: {error}; {advice}") from error
    if _compute_digest(arrays) != digest:
        raise TrackError(f"{path} does not hold the meshes of this track; {advice}")
    for name, array in arrays.items():
        if name.endswith("_meshes") and not (
            array.shape[1:] == (VERTEX_COUNT, 3) and array.dtype == np.float32 and np.isfinite(array).all()
        ):
            raise TrackError(f"{path} is broken: {name} does not hold meshes; {advice}")
    return TrackMeshes(arrays, digest)


def _check_archive(stream: BinaryIO) -> None:
    """Checks, before anything is unpacked, that the arrays have the shapes of meshes and the sizes that they declare.

    Raises:
        ValueError: They do not, or they are too large.
    """
    with zipfile.ZipFile(stream) as archive:
        entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > _MAX_ARCHIVE_BYTES:
            raise ValueError(f"it declares more than {_MAX_ARCHIVE_BYTES >> 30} GiB")
        for entry in entries:
            with archive.open(entry) as file:
                version = np.lib.format.read_magic(file)
                if version != (1, 0):
                    raise ValueError(f"an array of version {version}")
                shape, _, kind = np.lib.format.read_array_header_1_0(file)
                if kind.hasobject or len(shape) > 3 or math.prod(shape) * kind.itemsize > entry.file_size:
                    raise ValueError(f"{entry.filename} is not an array of its size")
    stream.seek(0)


def find_archive(track_path: Path) -> Path | None:
    """Finds the archive that a track file names, if both are there."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        with track_path.open("rb") as stream:
            head = stream.read(_HEAD_BYTES).decode("utf-8", "replace")
        found = re.search(r'^ "meshes": \{"file": "([^"/\\]+\.mesh-[0-9a-f]+\.npz)"', head, re.MULTILINE)
        if found and track_path.with_name(found.group(1)).is_file():
            return track_path.with_name(found.group(1))
    return None


def is_archive_used(archive: Path) -> bool:
    """Tells whether a track file in the archive's folder names it, such as a copy."""
    return any(find_archive(path) == archive for path in archive.parent.glob("*.json"))


def _compute_digest(arrays: Mapping[str, AnyArray]) -> str:
    hashed = hashlib.blake2b(digest_size=8)
    for name in sorted(arrays):
        array = arrays[name]
        hashed.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        hashed.update(np.ascontiguousarray(array).tobytes())
    return hashed.hexdigest()
