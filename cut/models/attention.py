"""Query-selected attention: which places of a feature map are worth a comparison (QS-Attn: Hu et al., CVPR 2022).

For the features f_i of all places of a map, A_ij = softmax over j of f_i . f_j. The places whose row of A has the
smallest entropy know best what they resemble. They become queries, and their rows mix the features of all places.

Rows of a fresh network are nearly one-hot, and hundreds of entropies are then exactly 0. The authors' sort puts the
first of them first, which are the top rows of the map; here ties are broken at random.
"""

import torch
from torch import Tensor

from cut.models.patch_head import random_orders

_MOST_ENTRIES = 2**22  # of A that are held at a time: A of a map of 128 x 128 would take 1 GiB


def attention_rows(feature: Tensor, count: int) -> Tensor:
    """The rows of A with the smallest entropies.

    Args:
        feature: Map `(N, C, H, W)`; the rows are differentiable with respect to it, their choice is not.
        count: Number of rows; a map that has fewer places gives all.

    Returns:
        `(N, min(count, H * W), H * W)`, in full precision.
    """
    with torch.autocast(feature.device.type, enabled=False):
        features = feature.flatten(2).transpose(1, 2)  # (N, HW, C)
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        chosen = _smallest(attention_entropies(features), count)  # (N, S)
        queries = features.gather(1, chosen.unsqueeze(2).expand(-1, -1, features.shape[2]))
        return (queries @ features.transpose(1, 2)).softmax(dim=2)


@torch.no_grad()
def attention_entropies(features: Tensor) -> Tensor:
    """Entropy of each row of A: `(N, HW, C)` -> `(N, HW)`; A is never held as a whole."""
    rows = max(1, _MOST_ENTRIES // (features.shape[0] * features.shape[1]))
    parts = features.split(rows, dim=1)
    entropies = [torch.special.entr((part @ features.transpose(1, 2)).softmax(dim=2)).sum(dim=2) for part in parts]
    return torch.cat(entropies, dim=1)


def _smallest(entropies: Tensor, count: int) -> Tensor:
    """Places `(N, count)` of the smallest of `(N, HW)`, of equal ones some at random."""
    shuffled = random_orders(len(entropies), entropies.shape[1], entropies.device)
    ranked = entropies.gather(1, shuffled).argsort(dim=1, stable=True)
    return shuffled.gather(1, ranked[:, :count])
