"""Who is where, in which pose: detection, landmarks, Euler angles, tracks, the appearance map.

`analyse.analyse` turns a clip into a `Track` of every `Person` and their `Face` in each frame; `load_track` and
`save_track` keep it as a file. `make_detector` and `make_landmarker` work on single pictures, and `compute_descriptor`
says who somebody is.

    from fsgan_core.faces.analyse import analyse

    track = analyse(open_clip("plates/target.####.exr"), open_config())
    save_track("target.track.json", track)
    person = track.choose_person(AnalyseParams())
    person.faces[1001].landmarks        # (68, 2), plate coordinates

The public names are in __init__.pyi. Each is imported when it is first used.
"""

import lazy_loader

import fsgan_core.plates  # noqa: F401 - before OpenCV is loaded, see there

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
