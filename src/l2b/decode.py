"""Encoded images to one tensor of bytes, on several threads."""

import io
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

CHUNK = 256  # images a thread takes at a time
DEEP = ("I", "F")  # Pillow's modes of more than 8 bits per pixel begin with these
MOST_PIXELS = 2**26  # of one image as stored; more is no training sample but an attack
ORIENTATION = 0x112  # EXIF tag
TURNS = {
    2: "FLIP_LEFT_RIGHT", 3: "ROTATE_180", 4: "FLIP_TOP_BOTTOM", 5: "TRANSPOSE",
    6: "ROTATE_270", 7: "TRANSVERSE", 8: "ROTATE_90",
}  # fmt: skip
JPEG = b"\xff\xd8\xff"


def decode_images(
    images: Sequence[bytes | Path],
    size: int,
    *,
    name: Path | str,
    resize: bool = False,
    workers: int = 2,
) -> Tensor:
    """Decode images of any format that Pillow reads, as RGB, turned as their EXIF data say.

    Args:
        images: encoded bytes, or paths of files.
        size: height and width of the result, in pixels.
        name: where encoded bytes come from, for messages.
        resize: bring other sizes to this one (bilinear, aspect ratio not kept); else they
            are refused.
        workers: threads; the result does not depend on their number.

    Returns:
        Pixels in [0, 255], [N, 3, size, size], uint8.

    Raises:
        ImportError: without Pillow.
        ValueError: if an image cannot be decoded, has another size, or more than 8 bits per
            pixel; the message names its file or row.
    """
    pillow()
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}: it is a number of threads.")
    pixels = np.empty((len(images), size, size, 3), dtype=np.uint8)

    def fill(start: int) -> None:
        for row in range(start, min(start + CHUNK, len(images))):
            image = images[row]
            title = image if isinstance(image, Path) else f"{name}, row {row}"
            pixels[row] = _decode(image, size, title, resize=resize)

    with ThreadPoolExecutor(workers) as pool:
        list(pool.map(fill, range(0, len(images), CHUNK)))  # raises the first error, in order
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


def upright(image: Any) -> Any:
    """An image turned as its EXIF orientation says, which is how cameras store it.

    What a PNG says behind its pixels does not count, as where sizes are asked for without them.
    """
    # Pillow turns TIFF by itself, as it is loaded.
    turn = None if image.format == "TIFF" else TURNS.get(orientation(image))
    image.load()
    return image if turn is None else image.transpose(pillow().Transpose[turn])


def orientation(image: Any) -> int:
    """EXIF orientation of an image, 1 to 8; from 5 on, height and width change places."""
    try:
        # That of the base class, for PNG's own would unpack all pixels first.
        return int(pillow().Image.getexif(image).get(ORIENTATION, 1))
    except Exception:  # damaged EXIF says nothing of the pixels
        return 1


def is_jpeg(image: bytes) -> bool:
    """Whether encoded bytes are JPEG, by their first three."""
    return image.startswith(JPEG)


def refuse_huge(title: Path | str, stored: tuple[int, int]) -> None:
    """Refuse an image that unpacks to more than any training sample.

    Args:
        title: of the image, for the message.
        stored: width and height in pixels.

    Raises:
        ValueError: if it is.
    """
    if math.prod(stored) > MOST_PIXELS:
        raise ValueError(
            f"{title} must have at most {MOST_PIXELS:,} pixels, got {stored[0]} × {stored[1]}: "
            "unpacking it could fill the memory. Shrink it first."
        )


def refuse_pages(title: Path | str, pages: int) -> None:
    """Refuse a stack of images, of which only the first would be seen.

    Args:
        title: of the file, for the message.
        pages: that it holds.

    Raises:
        ValueError: if there are several.
    """
    if pages > 1:
        raise ValueError(
            f"{title} must hold one image, got {pages} pages: split the stack into files, or give "
            "volumes as NIfTI."
        )


def _decode(image: bytes | Path, size: int, title: Path | str, *, resize: bool) -> np.ndarray:
    images = pillow()
    try:
        with images.open(image if isinstance(image, Path) else io.BytesIO(image)) as opened:
            stored = opened.size  # known before anything is unpacked
            stack = opened.format == "TIFF"  # moving pictures are looked at by their first
            pages = getattr(opened, "n_frames", 1) if stack else 1
            rgb = _rgb(opened) if math.prod(stored) <= MOST_PIXELS else None
    except Exception as error:  # Pillow raises many kinds, down to SyntaxError
        raise ValueError(
            f"{title} cannot be decoded as an image ({error}): it is damaged or no image. Fetch "
            "it again, or remove it."
        ) from error
    refuse_huge(title, stored)
    refuse_pages(title, pages)
    if rgb is None:
        raise ValueError(
            f"{title} must have 8 bits per pixel and channel, got more (16 bits or floats): "
            "brighter pixels would be cut off. Convert it to 8 bits first."
        )
    if rgb.size != (size, size):
        if not resize:
            raise ValueError(
                f"{title} must be {size} × {size} pixels, got {' × '.join(map(str, rgb.size))}: "
                "it belongs to another data set."
            )
        rgb = rgb.resize((size, size), images.Resampling.BILINEAR)
    return np.asarray(rgb)


def _rgb(image: Any) -> Any:
    """The same image in 8-bit RGB, copied only if it must be; None if it is deeper."""
    if image.mode.startswith(DEEP):
        return None
    image = upright(image)
    if image.mode == "P" and "transparency" in image.info:
        image = image.convert("RGBA")  # else Pillow warns
    return image if image.mode == "RGB" else image.convert("RGB")


def pillow() -> ModuleType:
    """The module `PIL.Image`.

    Raises:
        ImportError: without Pillow.
    """
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            "Reading images needs Pillow, which is not installed: pip install 'l2b[vision]'."
        ) from error
    return Image
