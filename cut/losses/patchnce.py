"""PatchNCE: a patch of the output must be recognised, among other patches, by the one at the same place of the input.

Park et al., "Contrastive Learning for Unpaired Image-to-Image Translation", ECCV 2020, equations 2 and 3 (InfoNCE of
van den Oord et al. 2018); the focal form after Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, eq. 5.
"""

import torch
from torch import Tensor

from cut.losses import full_precision
from cut.runtime.sharding import other_rows


def patchnce_loss(
    query: Tensor,
    key: Tensor,
    temperature: float = 0.07,
    negatives: str = "image",
    gamma: float = 0.0,
    alpha: float = 1.0,
    external: Tensor | None = None,
) -> Tensor:
    """-alpha (1 - p)^gamma log p, with p the softmax probability of the positive among all keys.

    The positive of query s is key s, its negatives are the other keys or `external` ones; `gamma` 0 and `alpha` 1 is
    cross-entropy, to the last bit. The authors' code keeps the positive a second time among the negatives, at logit
    -10 / temperature: a share of exp(-10 / 0.07) = 9e-63, which no float32 sum can hold; here it is left out.

    Args:
        query: `(N, S, C)` unit vectors of the translations.
        key: `(N, S, C)` unit vectors of the inputs at the same places; no gradient flows into them.
        temperature: Divisor of the similarities, tau in the paper.
        negatives: `image`, the other places of the same image; `minibatch`, those of all images of the batch, also of
            those that other processes hold; or `none`, only `external` keys.
        gamma: Focusing exponent, 0 or more.
        alpha: Factor of the whole.
        external: `(K, C)` unit vectors of other images, negatives of every query; no gradient flows into them.

    Returns:
        `(N * S,)` the loss of each patch.
    """
    if negatives == "minibatch":
        if (others := other_rows(key)) is not None:
            external = others.flatten(0, 1)  # (N, S, C) -> (N * S, C)
        query, key = query.flatten(0, 1).unsqueeze(0), key.flatten(0, 1).unsqueeze(0)  # (1, N * S, C)
    with torch.autocast(query.device.type, enabled=False):
        query, key = full_precision(query), full_precision(key.detach())
        if negatives == "none":
            logits = (query * key).sum(2, keepdim=True)  # (N, S, 1), the positive alone
        else:
            logits = query @ key.transpose(1, 2)  # (N, S, S), positives on the diagonal
        if external is not None:
            logits = torch.cat([logits, query @ full_precision(external).T], dim=2)  # (N, S, ... + K)
        log_p = (logits / temperature).log_softmax(dim=2)
        log_p = (log_p[..., 0] if negatives == "none" else log_p.diagonal(dim1=1, dim2=2)).flatten()  # (N * S,)
        return focal(log_p, gamma, alpha)


def focal(log_p: Tensor, gamma: float, alpha: float) -> Tensor:
    """-alpha (1 - p)^gamma log p, elementwise."""
    loss = -log_p
    if gamma:
        # -expm1 keeps 1 - p exact for easy patches; the clamp keeps its power's slope finite at p = 1.
        loss = loss * (-torch.expm1(log_p)).clamp_min(1e-12) ** gamma
    return loss if alpha == 1.0 else alpha * loss
