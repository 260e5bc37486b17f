"""Connected regions of masks."""

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor


def connected_regions(labels: Tensor) -> Tensor:
    """Number the connected regions of equal labels, image by image.

    Pixels are neighbours across their edges (in any number of dimensions), never across images.

    Args:
        labels: class indices, [n, *pixels].

    Returns:
        Numbers of the regions, [n, *pixels], int64, from 0 without gaps over the whole batch.
    """
    given = labels.cpu().numpy()
    found, count = np.empty(given.shape, dtype=np.int64), 0
    for image, numbered in zip(given, found, strict=True):
        for value in np.unique(image):
            here = image == value
            parts, number = ndimage.label(here)  # pyright: ignore[reportGeneralTypeIssues]
            numbered[here] = parts[here] - 1 + count
            count += number
    return torch.from_numpy(found).to(labels.device)
