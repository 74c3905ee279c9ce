#!/usr/bin/env python3
"""Landmark tables for the node FSGAN_ReenactPointsCat (docs/cattery.md), from a track file.

    python3 examples/landmark_tables.py plate.track.json work/lms.####.exr > work/crops.txt

Each frame's EXR holds x and y of landmark k in column k of forward.u and forward.v, as shares of the face's crop from
its upper left corner, the same in every row. What is printed says where that crop is on the plate: frame, left, bottom,
width and height in pixels from the plate's lower left corner, as a Crop node counts.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from fsgan_core.faces.face import Face
from fsgan_core.faces.landmarkers.landmarks_wflw import from_ibug
from fsgan_core.faces.track_file import load_track
from fsgan_core.plates.exr_writer import write_exr
from fsgan_core.plates.plate import Plate, Window
from fsgan_core.plates.sequence import format_output_path
from fsgan_core.stages.neural.fsgan_crop import compute_face_crop


def make_table(shares: np.ndarray, rows: int) -> Plate:
    """The picture that holds shares (n, 2)."""
    pixels = np.broadcast_to(shares[None].astype(np.float32), (rows, len(shares), 2))
    window = Window(0, 0, len(shares), rows)
    return Plate(np.ascontiguousarray(pixels), ("forward.u", "forward.v"), window, window)


def get_points(face: Face, count: int) -> np.ndarray:
    """(68 or 98, 2): estimated from the 68 where the track has no 98."""
    if count == 68:
        return face.landmarks
    return face.wflw if face.wflw is not None else from_ibug(face.landmarks)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("track", type=Path)
    parser.add_argument("output", help="EXR files, like lms.####.exr")
    parser.add_argument("--points", type=int, choices=(68, 98), default=98, help="what the generator was trained on")
    parser.add_argument("--crop", type=float, default=1.2, help="the crop scale of its weights")
    parser.add_argument("--rows", type=int, default=2160, help="at least the height of the pictures beside it")
    options = parser.parse_args(arguments)
    track = load_track(options.track)
    for frame, face in sorted(track.people[0].faces.items()):
        crop = compute_face_crop(face, options.crop, 256, track.pixel_aspect)
        path = format_output_path(options.output, frame)
        write_exr(
            path, make_table(crop.normalise_points(get_points(face, options.points)), options.rows), depth="float"
        )
        left, bottom = crop.left + 0.5, track.height - (crop.top + 0.5 + crop.height)  # pixel centres are whole there
        sys.stdout.write(f"{frame} {left:.3f} {bottom:.3f} {crop.width:.3f} {crop.height:.3f}\n")


if __name__ == "__main__":
    main()
