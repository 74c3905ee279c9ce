"""Takes a track into another program: python3 examples/export_track.py CLIP OUTPUT.csv, one row per landmark."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import fsgan_core as fsgan


def main(arguments: list[str]) -> None:
    track = fsgan.track_faces(arguments[0])
    with Path(arguments[1]).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["person", "frame", "landmark", "x", "y_up", "confidence"])
        for person in track.people:
            for frame, face in person.faces.items():
                for number, (x, y) in enumerate(face.landmarks):
                    # Most programs count from the lower left corner, and a pixel's centre lies at .5.
                    writer.writerow([person.index, frame, number, x + 0.5, track.height - y - 0.5, face.confidence])


if __name__ == "__main__":
    main(sys.argv[1:])
