"""The 8×8 digits that come with scikit-learn: real data without a download."""

from dataclasses import dataclass

import numpy as np
import torch

from l2b.datasets.base import Dataset, Source, Split

TEST_SAMPLES = 500


@dataclass(frozen=True, kw_only=True)
class Digits(Dataset):
    """1,797 handwritten digits, 8×8, embedded in scikit-learn: 1,297 train, 500 test."""

    def load(self) -> Source:
        """Read the digits; the split is stratified and always the same."""
        from sklearn.datasets import load_digits  # slow to load
        from sklearn.model_selection import train_test_split

        images, labels = load_digits(return_X_y=True)
        inputs = torch.from_numpy(images.astype(np.float32)).view(-1, 1, 8, 8)
        targets = torch.from_numpy(labels).long()
        train, test = train_test_split(
            np.arange(len(labels)), test_size=TEST_SAMPLES, stratify=labels, random_state=0
        )
        rows = torch.from_numpy(np.sort(train))
        mean, std = inputs[rows].mean(), inputs[rows].std()
        held_out = torch.from_numpy(np.sort(test))
        return Source(
            train=Split(inputs[rows], targets[rows]),
            test=Split(inputs[held_out], targets[held_out]),
            classes=tuple("0123456789"),
            mean=mean,
            std=std,
        )
