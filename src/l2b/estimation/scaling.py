"""Raw features to inputs of about unit size, dense or sparse."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from l2b.estimation.rows import Features, SparseRows

SPARSE_BELOW = 0.25  # share of non-zero entries under which zeros are taken to mean "absent"
LARGEST = 10.0  # standard deviations; what lies beyond is cut off
DENSE_BYTES = 4 * 2**30  # what a matrix may take when made dense


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What is subtracted from raw features and then divided by.

    Attributes:
        mean: of each feature, or of each channel of images; 0 for sparse data.
        std: likewise; for sparse data the root mean square of the non-zero entries.
    """

    mean: np.ndarray
    std: np.ndarray

    def __call__(self, x: Features) -> Tensor | SparseRows:
        """Scaled inputs in float32, cut off beyond ten standard deviations.

        Raises:
            ValueError: if a sparse matrix with many entries would not fit when made dense.
        """
        if sparse.issparse(x):
            if not self.mean.any():
                return SparseRows(self._scaled(x))
            x = densified(x)
        # In float64, since float32 loses small differences between large numbers.
        scaled = (np.asarray(x, dtype=np.float64) - self.mean) / self.std
        return torch.from_numpy(np.clip(scaled, -LARGEST, LARGEST).astype(np.float32))

    def _scaled(self, x: Features) -> Features:
        matrix: Features = sparse.csr_matrix(x, dtype=np.float64, copy=True)
        matrix.data /= np.broadcast_to(self.std, matrix.shape[1])[matrix.indices]
        np.clip(matrix.data, -LARGEST, LARGEST, out=matrix.data)
        return matrix.astype(np.float32)


def fitted_scale(x: Features) -> Scale:
    """The scale of these samples, by what they look like, not by how they are stored.

    Mostly zeros: not centred, so that zeros stay zero; rows of equal length (TF-IDF) are
    scaled by one number, which keeps the weight of rare words, others by one per feature.
    Anything else: zero mean and unit variance per feature, or per channel of images.

    Args:
        x: [N, features] or [N, channels, *pixels].
    """
    if x.ndim == 2 and _density(x) < SPARSE_BELOW:
        return Scale(mean=np.zeros(1), std=_sparse_size(sparse.csr_matrix(x, dtype=np.float64)))
    dense = densified(x) if sparse.issparse(x) else x
    axes = (0, *range(2, dense.ndim))
    mean = dense.mean(axis=axes, keepdims=True, dtype=np.float64)[0]
    std = dense.std(axis=axes, keepdims=True, dtype=np.float64)[0]
    return Scale(mean=mean, std=np.where(std > 1e-12 * np.abs(mean), std, 1.0))


def densified(x: Features) -> np.ndarray:
    """A sparse matrix as an array.

    Raises:
        ValueError: if it would take more than 4 GiB in float32.
    """
    size = 4 * x.shape[0] * x.shape[1]
    if size > DENSE_BYTES:
        raise ValueError(
            f"A sparse matrix of shape {x.shape} with {_density(x):.0%} non-zero entries would "
            f"take {size / 2**30:.0f} GiB when made dense, more than {DENSE_BYTES / 2**30:.0f}: "
            "keep fewer features (e.g. TfidfVectorizer(max_features=20_000)) or fewer samples."
        )
    return x.toarray()


def _density(x: Features) -> float:
    return (x.nnz if sparse.issparse(x) else np.count_nonzero(x)) / max(1, np.prod(x.shape))


def _sparse_size(x: Features) -> np.ndarray:
    """Root mean square of the non-zero entries, of all or of each feature."""
    squares = x.multiply(x).tocsr()
    lengths = np.asarray(squares.sum(axis=1)).ravel()
    lengths = lengths[lengths > 0]
    if len(lengths) == 0:
        return np.ones(1)
    if np.allclose(lengths, lengths[0], rtol=1e-3):
        return np.full(1, np.sqrt(np.mean(np.square(x.data[x.data != 0]))))
    counts = np.bincount(x.indices, minlength=x.shape[1])
    sizes = np.asarray(squares.sum(axis=0)).ravel() / np.maximum(1, counts)
    return np.sqrt(np.where(sizes > 0, sizes, 1.0))
