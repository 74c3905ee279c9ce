"""Swaps a face: python3 examples/swap.py SOURCE TARGET OUTPUT [FRAMES], like anna.mov plate.####.exr out.####.exr."""

from __future__ import annotations

import sys

import fsgan_core as fsgan


def main(arguments: list[str]) -> int:
    if len(arguments) < 3:
        sys.exit(__doc__)
    source, target, output, *frames = arguments
    try:
        result = fsgan.swap(source, target, output, frames=frames[0] if frames else "", on_event=print)
    except fsgan.FsganError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    for frame, message in result.failures:
        sys.stderr.write(f"frame {frame}: {message}\n")
    print(f"{len(result.list_frames('rendered'))} frames in {result.output}, engines {dict(result.engines)}")
    return 1 if result.failures else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
