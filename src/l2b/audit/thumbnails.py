"""Small pictures of image samples, as PNG without an imaging library."""

import base64
import struct
import zlib

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

LARGEST = 48  # pixels on a side
BUDGET = 16 * 2**20  # characters of all pictures in one page


def is_image(shape: tuple[int, ...]) -> bool:
    """Whether a sample of this shape is a grey or a colour image."""
    return len(shape) == 3 and shape[0] in (1, 3) and min(shape[1:]) > 1


def thumbnails(
    images: Tensor, index: np.ndarray, rows: list[int], low: float, high: float
) -> dict[int, str]:
    """Data URIs of samples' images by row, as many images as fit in 16 MB, first ones first.

    Args:
        images: [N, 1 or 3, height, width], raw.
        index: position of each row's image.
        rows: which to draw, the most important first.
        low: raw value that is drawn black.
        high: raw value that is drawn white.
    """
    made: dict[int, str] = {}
    found, used = {}, 0
    for row in rows:
        sample = int(index[row])
        if sample not in made:
            pixels = (images[sample].float() - low) / max(high - low, 1e-9)
            code = base64.b64encode(encoded_png(_small(pixels.clamp(0, 1) * 255))).decode()
            used += len(code)
            if used > BUDGET:
                break
            made[sample] = f"data:image/png;base64,{code}"
        found[row] = made[sample]
    return found


def _small(pixels: Tensor) -> Tensor:
    """At most 48 pixels on the longer side; [height, width, channels], uint8."""
    height, width = pixels.shape[1:]
    if max(height, width) > LARGEST:
        scale = LARGEST / max(height, width)
        size = max(1, round(height * scale)), max(1, round(width * scale))
        pixels = functional.adaptive_avg_pool2d(pixels, size)
    return pixels.round().to(torch.uint8).permute(1, 2, 0).contiguous()


def encoded_png(pixels: Tensor) -> bytes:
    """A PNG file (ISO/IEC 15948): signature, header, one deflated stream, end.

    Args:
        pixels: [height, width, 1 or 3], uint8.
    """
    height, width, channels = pixels.shape
    colour = 2 if channels == 3 else 0
    lines = b"".join(b"\x00" + line.numpy().tobytes() for line in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 9)), (b"IEND", b""))
    chunks = (
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in parts
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)
