"""MetaImage (.mhd beside .raw), as PROMISE12 has it."""

import math
from pathlib import Path

import numpy as np

from l2b.files import read_text
from l2b.grids import LPS_TO_RAS, Scan
from l2b.volumes import Volume, check_there, checked

USUAL = {"ElementSpacing": "1 1 1", "TransformMatrix": "1 0 0 0 1 0 0 0 1", "Offset": "0 0 0"}
NAMES = {  # under which a header may tell them; the first that is there counts, as in MetaIO
    "ElementSpacing": ("ElementSpacing", "ElementSize"),
    "TransformMatrix": ("TransformMatrix", "Rotation", "Orientation"),
    "Offset": ("ImagePosition", "Origin", "Offset", "Position"),
}
TYPES = {
    "MET_CHAR": "i1",
    "MET_UCHAR": "u1",
    "MET_SHORT": "i2",
    "MET_USHORT": "u2",
    "MET_INT": "i4",
    "MET_UINT": "u4",
    "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}


def read_metaimage(path: Path) -> Volume:
    """Read a .mhd header and the raw voxels it names (uncompressed, as PROMISE12 has them).

    Raises:
        FileNotFoundError: if the header or its voxels are missing.
        ValueError: if it is damaged, cut off, or of a kind that is not read.
    """
    check_there(path)
    header = _header(path)
    size = tuple(map(int, _numbers(header, "DimSize", 3, path)))
    kind = TYPES.get(header["ElementType"])
    if kind is None or header.get("CompressedData", "False").lower() == "true":
        raise ValueError(
            f"{path} must describe uncompressed voxels of type {', '.join(TYPES)}, got "
            f"{header['ElementType']}, compressed {header.get('CompressedData', 'False')}: save "
            "it without compression."
        )
    big = header.get("ElementByteOrderMSB", header.get("BinaryDataByteOrderMSB", "False"))
    stored = np.dtype(kind).newbyteorder(">" if big.lower() == "true" else "<")
    raw = path.parent / header["ElementDataFile"]
    check_there(raw)
    expected = math.prod(size) * stored.itemsize
    if raw.stat().st_size != expected:
        raise ValueError(
            f"{raw} must hold {expected} bytes for {' × '.join(map(str, size))} voxels, got "
            f"{raw.stat().st_size}: it is cut off or of another volume."
        )
    voxels = np.fromfile(raw, dtype=stored).reshape(size[::-1]).T
    spacing = _numbers(header, "ElementSpacing", 3, path)
    affine = _affine(header, path)
    placed = affine if _told(header, "TransformMatrix") and _told(header, "Offset") else None
    return checked(Volume(voxels.astype(stored.newbyteorder("=")), spacing, placed), path)


def metaimage_grid(path: Path) -> Scan:
    """The grid of a MetaImage file, of which only the header is read; slices are resampled.

    A place or an orientation that the header does not tell is that of the origin, as in ITK.

    Raises:
        FileNotFoundError: if there is no header.
        ValueError: if it is damaged.
    """
    check_there(path)
    header = _header(path)
    return Scan(
        shape=tuple(map(int, _numbers(header, "DimSize", 3, path))),
        affine=LPS_TO_RAS @ _affine(header, path),
        turned=False,
        resampled=True,
    )


def _affine(header: dict[str, str], path: Path) -> np.ndarray:
    """From voxel indices to places in mm, [4, 4]."""
    affine, spacing = np.eye(4), _numbers(header, "ElementSpacing", 3, path)
    affine[:3, :3] = np.reshape(_numbers(header, "TransformMatrix", 9, path), (3, 3)).T * spacing
    affine[:3, 3] = _numbers(header, "Offset", 3, path)
    return affine


def _header(path: Path) -> dict[str, str]:
    lines = read_text(path).splitlines()
    pairs = (line.partition("=") for line in lines if "=" in line)
    header = {name.strip(): value.strip() for name, _, value in pairs}
    missing = {"DimSize", "ElementType", "ElementDataFile"} - set(header)
    if missing:
        raise ValueError(
            f"{path} is no whole MetaImage header: it lacks {', '.join(sorted(missing))}."
        )
    return header


def _told(header: dict[str, str], key: str) -> str | None:
    """Under which name a MetaImage header tells something, if it does."""
    return next((name for name in NAMES.get(key, (key,)) if name in header), None)


def _numbers(header: dict[str, str], key: str, count: int, path: Path) -> tuple[float, ...]:
    """The numbers in one line of a MetaImage header, or the usual ones if it is not there."""
    name = _told(header, key)
    text = USUAL[key] if name is None else header[name]
    read, kind = (int, "whole numbers above 0") if key == "DimSize" else (float, "numbers")
    try:
        found = tuple(read(number) for number in text.split())
    except ValueError:
        found = ()
    sound = all(math.isfinite(n) and (n > 0 or read is float) for n in found)
    if len(found) != count or not sound:
        raise ValueError(f"{path} must hold {count} {kind} as {name or key}, got {text!r}.")
    return found
