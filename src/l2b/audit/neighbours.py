"""Do samples that look alike carry the same label?"""

import numpy as np
import torch
from torch import Tensor

NEAREST = 10
DIRECTIONS = 32  # that distances are measured in
REFERENCE = 20_000  # samples among which neighbours are looked for
PIECE = 2048
SEED = 0  # of the drawn directions and references; fixed, so that audits can be repeated


def neighbour_agreement(inputs: Tensor, observed: np.ndarray) -> np.ndarray:
    """Share of each sample's 10 nearest neighbours that carry the same observed label.

    Distances are cosine, in the 32 leading directions of the centred inputs. Of more than
    20,000 samples, neighbours are looked for among a random 20,000.

    Args:
        inputs: standardised samples, [N, …].
        observed: labels as given, [N].

    Returns:
        Shares in [0, 1], [N]; NaN if there is no other sample.
    """
    draw = np.random.default_rng(SEED)
    rows = np.sort(draw.permutation(len(observed))[:REFERENCE])
    nearest = min(NEAREST, len(rows) - 1)
    if nearest < 1:
        return np.full(len(observed), np.nan)
    points = _directions(inputs.flatten(1), rows)
    labels, reference = torch.from_numpy(observed), points[rows]
    place = torch.full((len(observed),), -1)
    place[rows] = torch.arange(len(rows))
    shares = []
    for piece in torch.arange(len(observed)).split(PIECE):
        likeness = points[piece] @ reference.T
        own = place[piece]
        inside = (own >= 0).nonzero().squeeze(1)
        likeness[inside, own[inside]] = -torch.inf  # nobody is a neighbour of itself
        found = labels[rows][likeness.topk(nearest, dim=1).indices]
        shares.append((found == labels[piece].unsqueeze(1)).double().mean(dim=1))
    return torch.cat(shares).numpy()


def _directions(inputs: Tensor, rows: np.ndarray) -> Tensor:
    """Unit vectors in the leading directions of the references, [N, at most 32]."""
    from sklearn.decomposition import TruncatedSVD  # slow to load

    reference = inputs[rows].float()
    mean = reference.mean(dim=0)
    wanted = min(DIRECTIONS, *reference.shape)
    if wanted < inputs.shape[1]:
        found = TruncatedSVD(wanted, random_state=SEED).fit((reference - mean).numpy())
        basis = torch.from_numpy(found.components_).float().T
    else:
        basis = torch.eye(inputs.shape[1])
    points = torch.cat([(piece.float() - mean) @ basis for piece in inputs.split(PIECE)])
    return torch.nn.functional.normalize(points, dim=1)
