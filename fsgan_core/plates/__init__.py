"""Reads and writes frames: sequences and movies, EXR windows and channels, colour, regions.

A Plate is one frame with its pixels, channel names, windows and metadata. EXR pixels, unknown metadata and other parts
of a file survive a read and a write bit for bit. Colour goes to the networks and back through one invertible transform.

    sequence = open_clip(Clip("plates/target.####.exr"))
    for frame, plate in read_ahead(sequence.read, select_frames("1001-1048x2", sequence.frames)):
        write_exr(format_output_path("out/copy.####.exr", frame), plate, other_parts=sequence.list_other_parts(frame))

The public names are in __init__.pyi. Each is imported when it is first used.
"""

import os
import sys

import lazy_loader

# Results of IPP inside OpenCV depend on the number of processors and on the alignment of arrays, so that a frame could
# differ in the last bit of a pixel from one run to the next. OpenCV reads these variables at its first call.
os.environ.setdefault("OPENCV_IPP", "disabled")
if "OPENCV_LOG_LEVEL" not in os.environ:
    # Else OpenCV warns that IPP is off. It reads this one when it is loaded, which may have happened already.
    os.environ["OPENCV_LOG_LEVEL"] = "ERROR"
    if "cv2" in sys.modules:
        _opencv_logging = sys.modules["cv2"].utils.logging
        _opencv_logging.setLogLevel(_opencv_logging.LOG_LEVEL_ERROR)

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
