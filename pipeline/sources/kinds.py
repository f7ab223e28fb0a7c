"""Which files of a folder are pictures: by name where the extension is known, else by content."""

import os
from collections.abc import Callable

EXTENSIONS = frozenset(
    (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp", ".gif")
)
"""Taken for pictures by their name alone, so that a million files are listed without a look."""

HIDDEN = "hidden files and folders"
OTHER = "other files"

_HOUSEKEEPING = frozenset(
    ("__MACOSX", "@eaDir", "lost+found", "$RECYCLE.BIN", "System Volume Information")
)
"""Not a user's own, though without a dot: copies, thumbnails, what only the system may list."""

_NO_PICTURES = frozenset((
    "cfg", "cls", "conf", "csv", "db", "doc", "docx", "gz", "h5", "hdf5", "html", "idx", "ini",
    "ipynb", "json", "jsonl", "lnk", "lock", "log", "mat", "md", "md5", "npy", "npz",
    "parquet", "pdf", "pickle", "pkl", "pt", "pth", "py", "pyc", "rst", "sh", "sha1", "sha256",
    "tar", "tgz", "toml", "tsv", "txt", "url", "xls", "xlsx", "xml", "yaml", "yml", "zip",
    "zst",
))  # fmt: skip
"""Extensions of what lies beside pictures, sometimes one for each: not worth an open."""

_UNREADABLE = frozenset((
    "heic", "heif", "avif", "jp2", "j2k", "jpf", "jpx", "jxl", "jxr", "psd", "svg", "exr", "hdr",
    "tga", "ico",
))  # fmt: skip
"""Extensions of pictures that the decoder does not know. Their content may still be a JPEG."""

_TIFF_BY_CONTENT = frozenset(("arw", "cr2", "dng", "nef", "orf", "pef", "svs", "ndpi", "scn"))
"""Raw photographs and slides begin as a TIFF does, but are none that a decoder can use."""

_HEAD = 32
_BITMAP_HEADERS = frozenset((12, 40, 52, 56, 64, 108, 124))
"""Sizes in bytes of the header that follows a BMP's first 14 bytes."""


def is_hidden(name: str) -> bool:
    """Whether a file or folder is left out for its name."""
    return name.startswith(".") or name in _HOUSEKEEPING


def why_no_picture(path: str, read_head: Callable[[str], bytes] | None = None) -> str | None:
    """The reason to leave a regular file out, or None where it is a picture that can be read.

    An empty file with a picture's extension is a picture: a bad one, which is named when it is
    read. Only files whose extension says nothing are opened.

    Args:
        path: of the file.
        read_head: (path) → the file's first 32 bytes, where it is not on the disk by itself.
    """
    name = path[path.rfind("/") + 1 :]
    stem, _, extension = name.rpartition(".")
    extension = extension.lower() if stem else ""
    if f".{extension}" in EXTENSIONS:
        return None
    if extension in _NO_PICTURES:
        return OTHER
    if extension in _TIFF_BY_CONTENT:
        return _unreadable(extension)
    try:
        head = (read_head or _read_head)(path)
    except OSError as error:
        return f"files of no known extension that cannot be opened ({error.strerror})"
    if is_readable(head):
        return None
    kind = extension if extension in _UNREADABLE else _unreadable_kind(head)
    return _unreadable(kind) if kind else OTHER


def _unreadable(kind: str) -> str:
    return f".{kind} pictures: a kind that cannot be read"


def _read_head(path: str) -> bytes:
    # Without O_NONBLOCK, a FIFO that took the file's place since it was listed would block.
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        return os.read(file, _HEAD)
    finally:
        os.close(file)


def is_readable(head: bytes) -> bool:
    """Whether a file begins as one of the kinds that `decode_rgb` knows."""
    return (
        head.startswith((b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF87a", b"GIF89a"))
        or head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))
        or (head[:4] == b"RIFF" and head[8:12] == b"WEBP")
        or (head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BITMAP_HEADERS)
        # Texts may begin with a P and a digit as well: a number or a comment must follow.
        or (
            head[:1] == b"P"
            and head[1:2] in b"123456"
            and head[2:3].isspace()
            and (head[2:].lstrip()[:1].isdigit() or head[2:].lstrip()[:1] == b"#")
        )
    )


def _unreadable_kind(head: bytes) -> str:
    """The usual extension of a kind of picture that the decoder does not know, or nothing."""
    if head[4:8] == b"ftyp":  # the brands of an ISO container follow
        if b"avif" in head[8:] or b"avis" in head[8:]:
            return "avif"
        heif = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
        return "heic" if head[8:12] in heif else ""
    starts = {
        b"\0\0\0\x0cjP  ": "jp2",
        b"\xff\x4f\xff\x51": "jp2",
        b"\0\0\0\x0cJXL ": "jxl",
        b"8BPS": "psd",
        b"\x76\x2f\x31\x01": "exr",
    }
    return next((kind for start, kind in starts.items() if head.startswith(start)), "")
