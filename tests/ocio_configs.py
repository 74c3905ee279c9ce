"""Small OCIO configs for tests: a space with a LUT, one that depends on $SHOT, one whose LUT is missing."""

from __future__ import annotations

from pathlib import Path

# From AP1 to AP0: ACEScg to the reference space.
AP1_TO_AP0 = (
    "[0.695452241357, 0.140678696470, 0.163869062172, 0, 0.044794563372, 0.859671118456, 0.095534318172, 0, "
    "-0.005525882558, 0.004025210306, 1.001500672252, 0, 0, 0, 0, 1]"
)
LUT_CONFIG = f"""ocio_profile_version: 2
search_path: luts
environment: {{SHOT: sh010}}
roles: {{scene_linear: lin, aces_interchange: ap0, default: lin}}
file_rules:
  - !<Rule> {{name: Default, colorspace: default}}
displays:
  sRGB:
    - !<View> {{name: Raw, colorspace: lin}}
colorspaces:
  - !<ColorSpace>
    name: lin
    encoding: scene-linear
    to_scene_reference: !<MatrixTransform> {{matrix: {AP1_TO_AP0}}}
  - !<ColorSpace> {{name: ap0, encoding: scene-linear}}
  - !<ColorSpace>
    name: camera
    encoding: log
    to_scene_reference: !<FileTransform> {{src: camera.cube, interpolation: linear}}
  - !<ColorSpace>
    name: other
    encoding: log
    to_scene_reference: !<FileTransform> {{src: other.cube, interpolation: linear}}
  - !<ColorSpace>
    name: shotgrade
    encoding: scene-linear
    to_scene_reference: !<FileTransform> {{src: grade_$SHOT.cc}}
"""
VERSION_1_CONFIG = """ocio_profile_version: 1
search_path: luts
strictparsing: true
luma: [0.2126, 0.7152, 0.0722]
roles: {scene_linear: linear, default: raw, reference: linear}
displays:
  default:
    - !<View> {name: Raw, colorspace: raw}
active_displays: [default]
active_views: [Raw]
colorspaces:
  - !<ColorSpace> {name: linear, family: "", bitdepth: 32f, isdata: false}
  - !<ColorSpace> {name: raw, family: "", bitdepth: 32f, isdata: true}
  - !<ColorSpace>
    name: sRGB
    bitdepth: 8ui
    isdata: false
    from_reference: !<FileTransform> {src: not_here.spi1d, interpolation: linear}
"""


def write_lut_config(folder: Path) -> Path:
    """Writes the config and its files, and returns its path."""
    (folder / "luts").mkdir(parents=True)
    for name in ("camera", "other"):
        write_cube(folder / "luts" / f"{name}.cube", 2.0)
    write_grade(folder / "luts" / "grade_sh010.cc", 1.0)
    write_grade(folder / "luts" / "grade_sh020.cc", 2.0)
    path = folder / "lut.ocio"
    path.write_text(LUT_CONFIG)
    return path


def write_cube(path: Path, gamma: float) -> None:
    """Writes a power curve as a LUT."""
    rows = "".join("{0:.6f} {0:.6f} {0:.6f}\n".format((index / 255) ** gamma) for index in range(256))
    path.write_text(f"LUT_1D_SIZE 256\n{rows}")


def write_grade(path: Path, slope: float) -> None:
    """Writes a gain as an ASC CDL."""
    path.write_text(
        f'<ColorCorrection id="x"><SOPNode><Slope>{slope} {slope} {slope}</Slope><Offset>0 0 0</Offset>'
        "<Power>1 1 1</Power></SOPNode><SatNode><Saturation>1</Saturation></SatNode></ColorCorrection>"
    )
