"""An input, opened: its frames, its track, its colour space.

`inputs.open_inputs` opens the clips of a job as `ClipInput`; `tracks.get_clip_track` finds or makes a clip's track;
`shot_file.load_shot` and `save_shot` read and write shot files; `finetuned` tells whether weights were trained on a
source.
"""
