"""Clips on disk, read frame by frame: EXR and image sequences, stills, movies, and the patterns that name them."""

from __future__ import annotations

import contextlib
import logging
import re
from bisect import bisect_right
from collections.abc import Iterable
from collections.abc import Sequence as SequenceOf
from dataclasses import replace
from difflib import SequenceMatcher
from functools import cache
from pathlib import Path

import fileseq

from fsgan_core.contract.errors import FrameRangeError, InputError, PlateError
from fsgan_core.contract.params import INTERLACED_MODES, MISSING_POLICIES
from fsgan_core.contract.shot import Clip, ClipLike, to_clip
from fsgan_core.plates import image_reader
from fsgan_core.plates.animation import AnimatedWebp, is_animated_webp
from fsgan_core.plates.exr_writer import PartRef
from fsgan_core.plates.file_digest import get_content_digest
from fsgan_core.plates.image_file import check_readable, is_exr_file, suggest_names
from fsgan_core.plates.movies.movie import DEINTERLACE, Movie
from fsgan_core.plates.movies.movie import MOVIE_SUFFIXES as MOVIE_SUFFIXES
from fsgan_core.plates.plate import Plate
from fsgan_core.plates.stated_colour import NOTHING_STATED, StatedColour, read_stated_colour
from fsgan_core.runtime.atomic import check_output_folder
from fsgan_core.runtime.user_paths import check_encoding, expand_home, resolve_links

log = logging.getLogger(__name__)

# ####, %04d, $F4 and @@@@ all stand for a frame number with at least four digits.
_FRAME_TOKEN = re.compile(r"(?P<hashes>#+)|(?P<ats>@+)|%(?P<printf>0?\d*)d|\$F(?P<houdini>\d*)")
_TRIED_HEADERS = 10  # until one can be read
# plate.1001.exr alone is frame 1001; IMG_1234.jpg is a still.
_FRAME_NUMBER = re.compile(r"\.(\d{3,10})$")
LIKE_NAME = 0.6  # ratio of difflib from which a file is offered for a name that does not exist
MAX_PADDING = 10  # digits that a pattern may ask for
MAX_FRAMES = 1_000_000  # frames of a range: eleven hours at 24 frames a second
MAX_FRAME_NUMBER = 2**31 - 1  # as in Nuke and in EXR's metadata


class FrameSequence:
    """A clip, made by `open_clip`. `read` may be called from any thread.

    Attributes:
        clip: The declaration in the shot.
        kind: "exr", "image" or "movie".
        missing_policy: What a missing frame means: "error", "hold" or "skip".
        frames: Frame numbers on disk, ascending.
    """

    def __init__(
        self, clip: Clip, kind: str, files: dict[int, Path], missing: str, movie: Movie | AnimatedWebp | None = None
    ) -> None:
        self.clip = clip
        self.kind = kind
        self.missing_policy = missing
        self.frames: tuple[int, ...] = tuple(sorted(files)) if movie is None else movie.frames
        self._files = files
        self._movie = movie

    @property
    def name(self) -> str:
        """Short name, for logs and file names."""
        stem = _FRAME_TOKEN.sub("", Path(self.clip.path).stem).strip("._- *?")
        return stem or Path(self.clip.path).parent.name or self.kind

    @property
    def fps(self) -> float | None:
        """Frames per second of a movie; None for other clips, whose metadata may have it."""
        return self._movie.fps if self._movie is not None else None

    def read(self, frame: int) -> Plate:
        """Reads a frame: values as in the file, integer files scaled to 0..1.

        With the policy "hold" a missing frame is the one before it, or the first one. Raises PlateError.
        """
        held = self._resolve_frame(frame)
        if self._movie is not None:
            return self._movie.read(held)
        return image_reader.read_image(self._files[held], self.clip.part)

    def read_header(self, frame: int) -> image_reader.PlateHeader:
        """Reads a frame without its pixels. Raises PlateError."""
        held = self._resolve_frame(frame)
        if self._movie is not None:
            plate = self._movie.read(held)
            return image_reader.PlateHeader(
                plate.channels,
                plate.data_window,
                plate.display_window,
                plate.pixel_aspect,
                plate.metadata,
                plate.formats,
            )
        return image_reader.read_header(self._files[held], self.clip.part)

    def read_stated_colour(self) -> StatedColour:
        """Reads what the first readable frame says about the colour of its pixels."""
        with contextlib.suppress(PlateError):
            return read_stated_colour(self.read_first_header().metadata)
        return NOTHING_STATED

    def read_first_header(self) -> image_reader.PlateHeader:
        """Reads the header of the first frame that has a readable one. Raises PlateError, that of the first frame."""
        for frame in self.frames[:_TRIED_HEADERS]:
            with contextlib.suppress(PlateError):
                return self.read_header(frame)
        return self.read_header(self.frames[0])

    def get_frame_path(self, frame: int) -> Path:
        """Finds the file that `read(frame)` reads. Raises PlateError."""
        held = self._resolve_frame(frame)
        return self._movie.path if self._movie is not None else self._files[held]

    def list_other_parts(self, frame: int) -> tuple[PartRef, ...]:
        """Lists the other parts of a frame's file, for `write_exr` to copy."""
        return image_reader.list_other_parts(self.get_frame_path(frame), self.clip.part) if self.kind == "exr" else ()

    def compute_fingerprint(self, frame: int) -> str:
        """Digests what `read(frame)` depends on: file content, part, frame. The same on every machine."""
        held = self._resolve_frame(frame)
        if self._movie is not None:
            return self._movie.compute_fingerprint(held)
        known = get_content_digest(self._files[held])
        return f"{known}:{self.clip.part}" if self.clip.part else known

    def close(self) -> None:
        """Closes the movie."""
        if self._movie is not None:
            self._movie.close()

    def __enter__(self) -> FrameSequence:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _resolve_frame(self, frame: int) -> int:
        place = bisect_right(self.frames, frame) - 1
        if place >= 0 and self.frames[place] == frame:
            return frame
        if self.missing_policy == "hold":
            return self.frames[max(0, place)]
        raise PlateError(f"{self.clip.path} has no frame {frame}; it has {format_frames(self.frames)}")


def open_clip(clip: ClipLike, missing: str = "error", interlaced: str = DEINTERLACE) -> FrameSequence:
    """Opens a clip.

    Args:
        clip: A path or a Clip. The path is a pattern (####, %04d, $F4, @@@@), a movie, one still, or stills by * or ?.
            Stills by wildcard are sorted by name and numbered from 1. A single still is frame 1, unless it is named
            name.NUMBER.suffix.
        missing: What a frame without a file means: "error", "hold" (use the frame before it, or the
            first one) or "skip".
        interlaced: What becomes of interlaced frames of a movie: "deinterlace" or "keep".

    Raises:
        PlateError: No file matches, or it cannot be read.
    """
    if interlaced not in INTERLACED_MODES:
        raise PlateError(f"interlaced = {interlaced!r} is not known; it is one of {', '.join(INTERLACED_MODES)}")
    if missing not in MISSING_POLICIES:
        raise PlateError(f"missing = {missing!r} is not known; it is one of {', '.join(MISSING_POLICIES)}")
    clip = to_clip(clip)
    path = expand_home(clip.path)
    check_encoding(path)
    try:
        files = _find_files(path)
    except OSError as error:
        raise PlateError(f"{path} cannot be read: {error.strerror or error}") from error
    if not files:
        raise PlateError(f"no file matches {path}{_describe_patterns(path.parent, path.name) or suggest_names(path)}")
    first = next(iter(files.values()))
    if first != path and not _FRAME_TOKEN.search(path.name):
        _warn_of_own_numbers(path, list(files.values()))
    if first == path and path.suffix.lower() in MOVIE_SUFFIXES:
        return FrameSequence(clip, "movie", {}, missing, Movie(path, interlaced))
    if first == path and is_animated_webp(path):
        return FrameSequence(clip, "movie", {}, missing, AnimatedWebp(path))
    kind = "exr" if is_exr_file(first) else "image"
    if clip.view and not clip.part and kind == "exr" and clip.view in image_reader.list_views(first):
        clip = replace(clip, part=clip.view)
    return FrameSequence(clip, kind, files, missing)


def select_frames(text: str, available: SequenceOf[int], missing: str = "error") -> tuple[int, ...]:
    """Selects frames by a range.

    Args:
        text: A range such as "1001-1048x2,1060". Empty is all frames, gaps included.
        available: Frames on disk.
        missing: A frame that is not available raises ("error"), is kept ("hold") or left out ("skip").

    Returns:
        Ascending frame numbers.

    Raises:
        FrameRangeError: The range is malformed, empty, or has missing frames.

    >>> select_frames("1001-1005x2", [1001, 1002, 1003], missing="skip")
    (1001, 1003)
    """
    present = set(available)
    if text.strip():
        requested = parse_frames(text)
    elif present:
        requested = tuple(sorted(present)) if missing == "skip" else tuple(range(min(present), max(present) + 1))
    else:
        requested = ()
    missing_frames = [frame for frame in requested if frame not in present]
    if missing_frames and missing == "error":
        raise FrameRangeError(
            f"missing frames: {format_frames(missing_frames)} (there are {format_frames(sorted(present))}); "
            "ask for other frames, or set output.missing to hold or skip"
        )
    chosen = tuple(frame for frame in requested if frame in present or (missing == "hold" and present))
    if not chosen:
        raise FrameRangeError(f"no frames to render: '{text}' has none of {format_frames(sorted(present))}")
    return chosen


def parse_frames(text: str) -> tuple[int, ...]:
    """Parses a frame range in the syntax of fileseq; blanks separate as commas do. Raises FrameRangeError.

    A step may also be written as in farm jobs: 1-10:3 is 1-10x3 (in fileseq it means all frames, in another order).

    >>> parse_frames("1001-1005x2,1010 1012,1020-1030:5")
    (1001, 1003, 1005, 1010, 1012, 1020, 1025, 1030)
    """
    try:
        # fileseq silently ignores padding characters and empty text.
        if not re.fullmatch(r"[-\d,xy:.\s]*\d[-\d,xy:.\s]*", text, re.ASCII):
            raise ValueError(text)
        separated = re.sub(r"(?<=\d)\s+(?=-?\d)", ",", text)
        _check_range_size(separated)
        compact = re.sub(r"\s", "", separated)
        _check_range_order(text, compact)
        frames = fileseq.FrameSet(compact.replace(":", "x"))
    except (fileseq.FileSeqException, ValueError) as error:
        raise FrameRangeError(f"'{text}' is not a frame range; write it like 1001-1048x2,1060") from error
    if any(int(frame) != frame for frame in frames):
        raise FrameRangeError(f"'{text}' has fractions of frames; write whole ones, like 1001-1048x2,1060")
    return tuple(sorted({int(frame) for frame in frames}))


def _check_range_order(text: str, compact: str) -> None:
    """Raises FrameRangeError, with a hint, if a range runs backwards or has a colon where a dash belongs."""
    for part in compact.split(","):
        if re.fullmatch(r"-?\d+:-?\d+", part):
            raise FrameRangeError(f"'{text[:80]}' is not a frame range; write {part.replace(':', '-', 1)}")
        ends = re.match(r"(-?\d+)-(-?\d+)(.*)", part)
        if ends and int(ends[1]) > int(ends[2]):
            raise FrameRangeError(
                f"'{text[:80]}' runs backwards; frames are rendered in ascending order, so write "
                f"{ends[2]}-{ends[1]}{ends[3]}"
            )


def _check_range_size(text: str) -> None:
    """Raises FrameRangeError if a range has too many frames or too large numbers, before it is expanded."""
    count = 0
    for part in text.split(","):
        numbers = [int(digits[:20]) for digits in re.findall(r"\d+", part)]
        if any(number > MAX_FRAME_NUMBER for number in numbers):
            raise FrameRangeError(f"'{text[:80]}' has a frame number above {MAX_FRAME_NUMBER}")
        ends = re.match(r"\s*(-?\d+)\s*-\s*(-?\d+)", part)
        count += 1 + (abs(int(ends[2]) - int(ends[1])) if ends else 0)
        if count > MAX_FRAMES:
            raise FrameRangeError(f"'{text[:80]}' has more than {MAX_FRAMES} frames")


def format_frames(frames: SequenceOf[int], limit: int = 200) -> str:
    """Formats frame numbers as a range.

    Args:
        frames: Frame numbers.
        limit: Most characters of the text, which is then cut; 0 is no limit.

    >>> format_frames([1001, 1002, 1003, 1007])
    '1001-1003,1007'
    >>> format_frames([])
    'none'
    """
    if not frames:
        return "none"
    text = str(fileseq.framesToFrameRange(sorted(frames)))
    return text if not limit or len(text) <= limit else text[:limit].rsplit(",", 1)[0] + ",..."


def format_output_path(pattern: str, frame: int) -> Path:
    """Makes the file name of a frame; a pattern without a frame token is returned as it is.

    >>> format_output_path("out/a.####.exr", 7).name
    'a.0007.exr'
    """
    path = expand_home(pattern)
    if not path.name:
        raise InputError(f"the output '{pattern}' is no file name; name it like out/swap.####.exr")
    return path.with_name(_FRAME_TOKEN.sub(lambda token: f"{frame:0{_count_digits(token)}d}", path.name))


def has_frame_token(pattern: str) -> bool:
    """Whether a pattern has a token for the frame number."""
    return bool(_FRAME_TOKEN.search(Path(pattern).name))


def check_output(pattern: str, inputs: Iterable[FrameSequence | Path | str], frames: SequenceOf[int] = ()) -> None:
    """Checks that an output can be written and does not overwrite an input. Makes its folder.

    Args:
        pattern: Pattern of the output.
        inputs: Clips and files that must not be overwritten.
        frames: Frames to write; more than one needs a frame token in the pattern.

    Raises:
        InputError: The name is wrong, the folder is a file, or an input would be overwritten.
        OutputError: The folder is not writable.
    """
    path = expand_home(pattern)
    check_encoding(path)
    if path.is_dir():
        raise InputError(f"the output {pattern} is a folder; name a file in it, like {path / 'swap.####.exr'}")
    if path.suffix.lower() != ".exr":
        stem = path.with_suffix("").name or "swap"
        name = stem if has_frame_token(stem) else f"{stem}.####"
        raise InputError(f"the output {pattern} is not an EXR; name it like {name}.exr")
    if len(frames) > 1 and not has_frame_token(pattern):
        raise InputError(f"{len(frames)} frames would all be written to {pattern}; add #### to the name")
    written = re.compile(_build_name_regex(path.name))
    folder, find_folder = resolve_links(path.parent), cache(resolve_links)
    existing = {_identify_file(format_output_path(pattern, frame)) for frame in frames} - {None}
    for source in inputs:
        for file in _list_input_files(source):
            # Its own name and, if it is a link, the name of the file that it leads to.
            names = [find_folder(file.parent) / file.name, *([resolve_links(file)] if file.is_symlink() else [])]
            clash = any(name.parent == folder and written.fullmatch(name.name) for name in names)
            if clash or _identify_file(file) in existing:
                raise InputError(f"the output {pattern} would overwrite the input {file}; write elsewhere")
    check_output_folder(path.parent)


def _find_files(path: Path) -> dict[int, Path]:
    """Finds frame -> file. Raises PlateError or OSError."""
    if path.is_dir():
        raise PlateError(f"{path} is a folder; name its files by a pattern{_describe_patterns(path)}")
    if path.exists():
        number = _FRAME_NUMBER.search(path.stem)
        return {int(number.group(1)) if number else 1: path}
    if _FRAME_TOKEN.search(path.name):
        # A single "#" often means any padding.
        return _find_numbered_files(path, _build_name_regex(path.name)) or _find_numbered_files(
            path, _build_name_regex(path.name, any_padding=True)
        )
    if re.search(r"[*?]", path.name):
        return dict(enumerate(sorted(_glob_files(path)), start=1))
    check_readable(path)
    return {}


def _list_input_files(source: FrameSequence | Path | str) -> list[Path]:
    if isinstance(source, FrameSequence):
        return [source.get_frame_path(frame) for frame in source.frames[: 1 if source.kind == "movie" else None]]
    return [Path(source)]


def _identify_file(path: Path) -> tuple[int, int] | None:
    """Tells a file from others whatever its name; None if there is none."""
    with contextlib.suppress(OSError):
        return (found := path.stat()).st_dev, found.st_ino
    return None


def _count_digits(token: re.Match[str]) -> int:
    """Counts the digits that a frame's token asks for. Raises InputError if they are too many."""
    if token.group("hashes") or token.group("ats"):
        digits = len(token.group(0))
    else:
        digits = int((token.group("printf") or token.group("houdini") or "1")[:20])
    if digits > MAX_PADDING:
        raise InputError(f"{token.group(0)[:20]} asks for more than {MAX_PADDING} digits; a frame's number has fewer")
    return digits


def _build_name_regex(name: str, any_padding: bool = False) -> str:
    """Builds the regular expression of a pattern's file names; group 1 is the frame."""
    parts, last, seen = [], 0, False
    for token in _FRAME_TOKEN.finditer(name):
        parts.append(re.escape(name[last : token.start()]))
        digits = _count_digits(token)
        # A number may have more digits if it needs them; but "007" does not match "##".
        strict = rf"-?\d{{{digits}}}|-?[1-9]\d{{{digits},}}"
        parts.append(r"(?:\1)" if seen else r"(-?\d+)" if any_padding and digits == 1 else f"({strict})")
        seen, last = True, token.end()
    return "".join(parts) + re.escape(name[last:])


def _find_numbered_files(path: Path, pattern: str) -> dict[int, Path]:
    expression = re.compile(pattern)
    files = {}
    for entry in _list_folder(path.parent):
        match = expression.fullmatch(entry.name)
        if match:
            files[int(match.group(1))] = entry
    return dict(sorted(files.items()))


def _warn_of_own_numbers(path: Path, files: SequenceOf[Path]) -> None:
    """Warns if the files of a wildcard are numbered from 1 although they are the frames of one sequence."""
    numbers = [_FRAME_NUMBER.search(file.stem) for file in files]
    names = {_FRAME_NUMBER.sub("", file.stem) + file.suffix for file in files}
    if len(files) > 1 and all(numbers) and len(names) == 1:
        name = Path(names.pop())
        log.warning(
            "%s: the %d files are taken as stills and numbered from 1; to keep their numbers, write %s",
            path,
            len(files),
            path.with_name(f"{name.stem}.####{name.suffix}"),
        )


def _glob_files(path: Path) -> list[Path]:
    try:
        found = list(path.parent.glob(path.name))
    except ValueError as error:
        raise PlateError(f"{path} is not a pattern of file names: {error}") from error
    return [entry for entry in found if entry.is_file() and not entry.name.startswith(".")]


def _list_folder(folder: Path) -> list[Path]:
    try:
        return list(folder.iterdir())
    except OSError:
        return []


def _describe_patterns(folder: Path, name_hint: str = "") -> str:
    """Makes the text "; there is ..." with the sequences of a folder, for error messages.

    With a name, the nearest come first, and single files that are not like it are left out.
    """
    try:
        sequences = fileseq.findSequencesOnDisk(str(folder), pad_style=fileseq.PAD_STYLE_HASH1)
    except Exception:  # fileseq raises many kinds for odd names, and this is only a hint
        sequences = []
    names = sorted(f"{one.basename()}{one.padding()}{one.extension()}" for one in sequences)
    if name_hint:
        likeness = {name: SequenceMatcher(None, name_hint, name).ratio() for name in names}
        names = [name for name in names if has_frame_token(name) or likeness[name] >= LIKE_NAME]
        names.sort(key=lambda name: -likeness[name])
    return f"; there is {', '.join(str(folder / name) for name in names[:3])}" if names else ""
