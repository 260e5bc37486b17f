"""What the estimator is given belongs to the user: it is read, never written to."""

import numpy as np
import pytest
import torch
from scipy import sparse

from l2b import L2BClassifier
from l2b.estimation.scaling import fitted_scale

KINDS = {
    "csr_matrix": lambda x: sparse.csr_matrix(x),
    "csr_array": lambda x: sparse.csr_array(x),
    "csr_array float32": lambda x: sparse.csr_array(x, dtype=np.float32),
    "csr unsorted": lambda x: unsorted(sparse.csr_array(x)),
    "csc_array": lambda x: sparse.csc_array(x),
    "float64": np.copy,
    "float32": lambda x: x.astype(np.float32),
    "tensor": torch.from_numpy,
    "images": lambda x: x.reshape(-1, 1, 4, 5),
}


def unsorted(x):
    """The same matrix, each row's entries from the last column to the first."""
    ends = zip(x.indptr, x.indptr[1:], strict=False)
    order = np.concatenate([np.arange(start, end)[::-1] for start, end in ends])
    return sparse.csr_array((x.data[order], x.indices[order], x.indptr), shape=x.shape)


def parts(x):
    """Copies of all arrays that make up the samples."""
    arrays = (x.data, x.indices, x.indptr) if sparse.issparse(x) else (x,)
    return [np.asarray(array).copy() for array in arrays]


@pytest.mark.parametrize("density", [0.1, 0.9])
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_samples_stay_as_they_were(kind, density):
    draw = np.random.default_rng(0)
    dense = np.where(draw.random((60, 20)) < density, 50 * draw.normal(size=(60, 20)), 0.0)
    noisy, clean, new = (KINDS[kind](dense[at].copy()) for at in np.split(np.arange(60), [30, 45]))
    y = np.arange(60) % 2
    before = [parts(x) for x in (noisy, clean, new)]
    for checked in ({"X_clean": clean, "y_clean": y[30:45]}, {"clean": np.arange(10)}, {}):
        model = L2BClassifier(method="cross_entropy", epochs=1, random_state=0)
        model.fit(noisy, y[:30], **checked)
        for x in (noisy, clean, new):
            model.predict(x)
        for x, arrays in zip((noisy, clean, new), before, strict=True):
            assert all(map(np.array_equal, parts(x), arrays))


@pytest.mark.parametrize("kind", ["csr_matrix", "csr_array", "csr_array float32"])
def test_scaling_twice_is_scaling_once(kind):
    x = KINDS[kind](sparse.random(50, 20, density=0.1, random_state=0).toarray() * 9)
    scale = fitted_scale(x)
    first, second = scale(x), scale(x)
    assert np.array_equal(first.matrix.toarray(), second.matrix.toarray())
    assert first.matrix.dtype == np.float32
