"""The description of each command, as `fsgan COMMAND --help` shows it."""

from __future__ import annotations

EXIT_CODES = """\
exit codes:
  0    done (frames without a face are passed through and listed)
  1    some frames failed and are listed; the others were rendered
  2    the request is wrong (path, range, parameter, ...); the same command will fail again
  3    this machine has a problem (disk full, read-only, out of memory); another one may work
  4    a fault of this program; the message names a log file with the details
  130  interrupted; the same command continues the work
"""

MAIN = """\
Face swap and face reenactment for compositing: scene-linear EXR plates in, EXR plates out.

your first job:
  fsgan swap --source anna.mov --target plate.####.exr --output out/swap.####.exr

Frames that are up to date are kept. If you run the same command again, it renders only what changed, and it continues
a render that was interrupted. You can save a shot to a file and render it in pieces on many machines; the result is the
same:
  fsgan swap --source anna.mov --target plate.####.exr --output out/swap.####.exr --save-shot shot.toml
  fsgan render shot.toml --frames 1001-1020

how to write things:
  clips      plate.####.exr, plate.%04d.exr, movie.mov, still.jpg, 'stills/*.jpg'; a movie starts at frame 1
  frames     1001-1048, 1001-1048x2, 1001,1005,1010-1020
  settings   --set blend.engine=multiband --set mask.feather=0.1   (`fsgan params` lists them)
"""

SWAP = """\
Puts the source's face on the target's head. The target keeps its head, hair, pose and expression.
Outside the matte, every pixel of the plate stays the same, bit for bit.

  fsgan swap --source anna.mov --target plate.####.exr --output out/swap.####.exr
  fsgan swap --source anna.mov anna_02.jpg --target plate.####.exr --frames 1001-1060 \\
             --output out/swap.####.exr --set blend.engine=multiband --layers all --report out/report

The analysis (who is where) always covers the whole clip and is kept in a cache, so a frame looks the same whatever
--frames you render. --output must be EXR. Its colour space is the target's own if that is scene-linear, else the
config's scene_linear.
"""

DRIVE = """\
Transfers the expression of a driver to the face in the plate. The identity and the light stay the plate's, and so does
the pose of the head unless drive.pose is set.

  fsgan drive --plate plate.####.exr --driver take3.mov --output out/drive.####.exr --set drive.brows=0.5
"""

RENDER = """\
Renders a shot file (see docs/shot-file.md). The flags given here override the file. Relative paths in the file start
at the file's folder.

  fsgan render shot.toml
  fsgan render shot.toml --frames 1001-1020 --json
"""

ANALYSE = """\
Finds the people in each frame of a clip: boxes, 68 landmarks, head pose. Writes a track file (JSON, see
docs/track-file.md). If the file already exists, the track is made again, but manual corrections in it are kept.

  fsgan analyse --target plate.####.exr --output plate.track.json
  fsgan swap ... --target-track plate.track.json

Other commands analyse their clips when they need to. Use this one to inspect a track, to correct it, or to analyse
once for many machines.
"""

ATLAS = """\
Writes a source's atlas: its skin laid flat, fused from the views that see each patch best, evenly lit.

The EXR file holds R, G, B (scene-linear), confidence.Z (0 where it is made up) and a matte for each region of the
face (region.brows, region.lips, ...). Paint on it and give it back with --set reenact.atlas=FILE: a stain that you
paint out once is gone in every frame.

  fsgan atlas --source anna.mov --output anna_atlas.exr
  fsgan swap --source anna.mov --target plate.####.exr --output out.####.exr --set reenact.atlas=anna_painted.exr
"""

VIEWS = """\
Lists the views of a source and what a shot needs of them: every view by yaw and pitch, how many frames each view leads,
and the angles that the source lacks. --output writes a contact sheet. Exclude views with
--set reenact.exclude=12,40-55, or prefer them with --set reenact.weights=80=3 (numbers are frames of the source).

  fsgan views --source anna.mov --target plate.####.exr --frames 1001-1060 --output views.png
  fsgan views --source anna.mov stills/*.jpg --json
"""

REENACT = """\
Runs the first stage alone: the source's face in the target's pose, in the region around the face.
Writes float32 EXR with rgba (premultiplied, in the target's linear space), st.u and st.v (an STMap into the
leading source view), confidence.Z, uv.u and uv.v (an STMap into the source's atlas), and matte.kept (where the
plate's own eyeballs and inner mouth stay).

  fsgan reenact --source anna.mov --target plate.####.exr --output work/re.####.exr
"""

MASK = """\
Runs the second stage alone: which part of the target is replaced. Writes float32 EXR with matte.face, matte.hair,
matte.mouth and matte.occlusion.

  fsgan mask --target plate.####.exr --output work/mask.####.exr --set mask.feather=0.1
"""

INPAINT = """\
Runs the third stage alone: fills the parts of the mask that the reenacted face does not cover. Needs the files of
reenact and mask. With --source, it can fill from other views too.

  fsgan inpaint --reenacted work/re.####.exr --mask work/mask.####.exr --source anna.mov \\
                --target plate.####.exr --output work/fill.####.exr
"""

BLEND = """\
Runs the last stage alone: blends the completed face into the plate. Gives the same pixels as `fsgan swap`.

  fsgan blend --completed work/fill.####.exr --mask work/mask.####.exr --target plate.####.exr \\
              --output out/swap.####.exr
"""

EVALUATE = """\
Measures a result against its source and target: identity, gaze, lids, lips, light, tone, head pose, landmarks, pixels
that changed outside the matte, flicker, sharpness, and frames without a face. Each figure that has a limit gets a
verdict: pass, look or fail.

  fsgan evaluate --source anna.mov --target plate.####.exr --result out/swap.####.exr --json
"""

DOCTOR = """\
Shows what is installed, which engines and devices work here, which colour config is used, and where the cache is.
"""

PARAMS = """\
Lists the parameters of the stages, as --set and a shot file take them.

  fsgan params
  fsgan params blend
"""
