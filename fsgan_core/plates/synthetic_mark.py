"""The mark of pictures and movies that leave the building: XMP metadata which say that they hold a synthesised face.

The mark is IPTC's digital source type `compositeWithTrainedAlgorithmicMedia` in an XMP packet. It stands in an iTXt
chunk of a PNG, in an APP1 segment of a JPEG, in a `uuid` box of an MP4 or MOV. Pixels and codec data do not change. EXR
files have no XMP; their metadata say the same (`contract/layers.py`).

Sources: IPTC Photo Metadata Standard, "Digital Source Type"; Adobe, "XMP Specification Part 3: Storage in Files".
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from xml.sax.saxutils import escape

from fsgan_core.contract.errors import PlateError
from fsgan_core.contract.version import __version__

__all__ = [
    "DIGITAL_SOURCE_TYPE",
    "SYNTHETIC_COMMENT",
    "add_mark",
    "append_movie_mark",
    "make_xmp",
    "read_xmp",
    "read_xmp_fields",
]

DIGITAL_SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/compositeWithTrainedAlgorithmicMedia"
SYNTHETIC_COMMENT = "Contains synthesised face pixels (fsgan)."

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_KEYWORD = b"XML:com.adobe.xmp"
_JPEG_START, _JPEG_APP1, _JPEG_SCAN = b"\xff\xd8", 0xE1, 0xDA
_JPEG_NAMESPACE = b"http://ns.adobe.com/xap/1.0/\0"
_XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_MAX_XMP_BYTES = 1 << 20
_MAX_BLOCKS = 10_000  # chunks, segments or boxes to look at; a file of nothing else would keep us busy
_PACKET = """<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>
<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">
<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" xmlns:xmp="http://ns.adobe.com/xap/1.0/"
 xmlns:xmpRights="http://ns.adobe.com/xap/1.0/rights/"
 xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">
<Iptc4xmpExt:DigitalSourceType>{source_type}</Iptc4xmpExt:DigitalSourceType>
<xmp:CreatorTool>fsgan {version}</xmp:CreatorTool>
<dc:description><rdf:Alt><rdf:li xml:lang="x-default">{description}</rdf:li></rdf:Alt></dc:description>
<xmpRights:UsageTerms><rdf:Alt><rdf:li xml:lang="x-default">{consent}</rdf:li></rdf:Alt></xmpRights:UsageTerms>
</rdf:Description></rdf:RDF></x:xmpmeta>
<?xpacket end="w"?>"""
_FIELDS = {
    "digital source type": rb"<Iptc4xmpExt:DigitalSourceType>([^<]*)<",
    "creator tool": rb"<xmp:CreatorTool>([^<]*)<",
    "description": rb"<dc:description>\s*<rdf:Alt>\s*<rdf:li[^>]*>([^<]*)<",
    "release": rb"<xmpRights:UsageTerms>\s*<rdf:Alt>\s*<rdf:li[^>]*>([^<]*)<",
}


def make_xmp(description: str = SYNTHETIC_COMMENT, consent: str = "") -> bytes:
    """Makes the XMP packet of the mark.

    Args:
        description: What the picture shows, in a line.
        consent: The performer's release; empty: none is named.
    """
    text = _PACKET.format(
        source_type=DIGITAL_SOURCE_TYPE,
        version=escape(__version__),
        description=escape(description),
        consent=escape(consent),
    )
    return text.encode("utf-8", "replace")


def add_mark(picture: bytes, xmp: bytes | None = None) -> bytes:
    """Adds the mark to an encoded PNG or JPEG.

    Args:
        picture: The file's bytes, without an XMP packet.
        xmp: The packet; None is that of `make_xmp`.

    Raises:
        PlateError: It is neither a PNG nor a JPEG, or the packet does not fit into a JPEG's segment (64 KiB).
    """
    xmp = make_xmp() if xmp is None else xmp
    if picture.startswith(_PNG_SIGNATURE):
        chunk = _PNG_KEYWORD + b"\0\0\0\0\0" + xmp  # not compressed, no language, no translated keyword
        body = struct.pack(">I", len(chunk)) + b"iTXt" + chunk + struct.pack(">I", zlib.crc32(b"iTXt" + chunk))
        end = len(_PNG_SIGNATURE) + 12 + struct.unpack(">I", picture[8:12])[0]  # after the IHDR chunk
        return picture[:end] + body + picture[end:]
    if picture.startswith(_JPEG_START):
        segment = _JPEG_NAMESPACE + xmp
        if len(segment) + 2 > 0xFFFF:
            raise PlateError("the XMP packet does not fit into a JPEG (64 KiB); shorten its texts")
        place = 2 + _measure_jfif(picture)
        return picture[:place] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + picture[place:]
    raise PlateError("only PNG and JPEG pictures can be marked")


def append_movie_mark(path: Path, xmp: bytes | None = None) -> None:
    """Appends the mark to a finished MP4 or MOV, as its last box.

    Raises:
        OSError: The file cannot be written.
    """
    xmp = make_xmp() if xmp is None else xmp
    with path.open("ab") as file:
        file.write(struct.pack(">I", 8 + len(_XMP_UUID) + len(xmp)) + b"uuid" + _XMP_UUID + xmp)


def read_xmp(path: Path) -> bytes:
    """Reads the XMP packet of a PNG, JPEG, MP4 or MOV; empty if it has none.

    Raises:
        PlateError: The file cannot be read, or its structure is broken.
    """
    try:
        with path.open("rb") as file:
            start = file.read(12)
        if start.startswith(_PNG_SIGNATURE):
            return _find_png_xmp(path)
        if start.startswith(_JPEG_START):
            return _find_jpeg_xmp(path)
        if start[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free"):
            return _find_movie_xmp(path)
        return b""
    except OSError as error:
        raise PlateError(f"{path} cannot be read: {error.strerror or error}") from error
    except (struct.error, ValueError) as error:
        raise PlateError(f"{path} is damaged: {error}") from error


def read_xmp_fields(xmp: bytes) -> dict[str, str]:
    """Reads what the mark says out of an XMP packet; fields that it lacks are left out."""
    found = {name: re.search(pattern, xmp) for name, pattern in _FIELDS.items()}
    texts = {name: match.group(1).decode("utf-8", "replace").strip() for name, match in found.items() if match}
    unescaped = {
        name: text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&") for name, text in texts.items()
    }
    return {name: text for name, text in unescaped.items() if text}


def _measure_jfif(picture: bytes) -> int:
    """Bytes of the JFIF segment that must stay first."""
    if picture[2:4] != b"\xff\xe0":
        return 0
    return 2 + int(struct.unpack(">H", picture[4:6])[0])


def _find_png_xmp(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(len(_PNG_SIGNATURE))
        for _ in range(_MAX_BLOCKS):
            head = file.read(8)
            if len(head) < 8:
                break
            size, kind = struct.unpack(">I4s", head)
            if kind == b"IEND":
                break
            if kind == b"iTXt" and size < _MAX_XMP_BYTES:
                keyword, _, rest = file.read(size).partition(b"\0")
                if keyword == _PNG_KEYWORD and rest[:1] == b"\0":  # not compressed
                    _language, _, rest = rest[2:].partition(b"\0")
                    return rest.partition(b"\0")[2]
                file.seek(4, 1)
            else:
                file.seek(size + 4, 1)
    return b""


def _find_jpeg_xmp(path: Path) -> bytes:
    with path.open("rb") as file:
        file.seek(2)
        for _ in range(_MAX_BLOCKS):
            head = file.read(4)
            if len(head) < 4 or head[0] != 0xFF or head[1] == _JPEG_SCAN:
                break
            segment = file.read(max(0, struct.unpack(">H", head[2:])[0] - 2))
            if head[1] == _JPEG_APP1 and segment.startswith(_JPEG_NAMESPACE):
                return segment[len(_JPEG_NAMESPACE) :]
    return b""


def _find_movie_xmp(path: Path) -> bytes:
    with path.open("rb") as file:
        for kind, start, end in _iterate_boxes(path):
            if kind == b"uuid" and end - start < _MAX_XMP_BYTES:
                file.seek(start)
                content = file.read(end - start)
                if content.startswith(_XMP_UUID):
                    return content[len(_XMP_UUID) :]
    return b""


def _iterate_boxes(path: Path) -> Iterator[tuple[bytes, int, int]]:
    """Gives type, first byte of the content and end of each box at the file's top level."""
    total, place = path.stat().st_size, 0
    with path.open("rb") as file:
        for _ in range(_MAX_BLOCKS):
            if place + 8 > total:
                return
            file.seek(place)
            size, kind = struct.unpack(">I4s", file.read(8))
            start = place + 8
            if size == 1:
                size, start = struct.unpack(">Q", file.read(8))[0], place + 16
            end = total if size == 0 else place + size
            if end < start or end > total:
                raise ValueError(f"the box at byte {place} has an impossible size")
            yield kind, start, end
            place = end
