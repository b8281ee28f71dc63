"""Contrastive losses of patches that weigh their negatives: MoNCE and hDCE.

Both compare queries `(N, S, C)` with keys `(N, S, C)` as `losses.patchnce.patchnce_loss` does, with c_ij = q_i . k_j
the similarity of query i and key j, and tau the temperature. The weights of all negatives of an image are worked out
together, so negatives from a memory of earlier images have no place here. With `negatives="minibatch"` the whole batch
is taken as one image, also where processes share it; each of them then computes the loss of all patches.
"""

import torch
from torch import Tensor

from cut.losses import full_precision
from cut.losses.patchnce import focal
from cut.runtime.sharding import all_rows, joined_rows

_OWN_COST = -10.0  # of a patch and its own positive, which the plan should pass over
_ITERATIONS = 50
_LEAST_WEIGHT = 1e-8  # of a negative, whose logarithm is needed


def monce_loss(
    query: Tensor,
    key: Tensor,
    temperature: float = 0.07,
    negatives: str = "image",
    hard: bool = True,
    epsilon: float = 1.0,
    negative_weight: float = 1.0,
    detach_weights: bool = False,
    gamma: float = 0.0,
    alpha: float = 1.0,
    external: None = None,
) -> Tensor:
    """PatchNCE whose negatives have weights from optimal transport (MoNCE: Zhan et al., CVPR 2022).

    -log [exp(c_ii / tau) / (exp(c_ii / tau) + sum_{j != i} w_ij exp(c_ij / tau))], with w_ij = Q (S - 1) P_ij and P the
    plan of `transport_plan`. The authors' code writes the option `num_patches` for S, the number of places that a map
    really gave; the two differ for small maps only.

    Args:
        query: `(N, S, C)` unit vectors of the translations.
        key: `(N, S, C)` unit vectors of the inputs at the same places; no gradient flows into them.
        temperature: Divisor of the similarities, tau.
        negatives: `image`, the other places of the same image, or `minibatch`, those of all images of the batch.
        hard: Whether similar negatives weigh more (unpaired translation) or less.
        epsilon: Weight of the plan's entropy; the smaller, the more the weights differ.
        negative_weight: Sum of a patch's weights as a share of the number of negatives, Q.
        detach_weights: Whether no gradient flows through the plan.
        gamma: Focusing exponent of the focal form, 0 or more.
        alpha: Factor of the whole.
        external: None; there is no plan between a batch and a memory.

    Returns:
        `(N * S,)` the loss of each patch.
    """
    with torch.autocast(query.device.type, enabled=False):
        query, key = _squares(query, key, negatives)
        similarities = query @ key.transpose(1, 2)  # (N, S, S), positives on the diagonal
        with torch.set_grad_enabled(torch.is_grad_enabled() and not detach_weights):
            plan = transport_plan(similarities, hard, epsilon)
            log_weights = (plan * (negative_weight * (plan.shape[2] - 1)) + _LEAST_WEIGHT).log()
        logits = similarities / temperature + log_weights.masked_fill(_diagonal(similarities), 0.0)
        return focal(logits.log_softmax(dim=2).diagonal(dim1=1, dim2=2).flatten(), gamma, alpha)


def transport_plan(similarities: Tensor, hard: bool = True, epsilon: float = 1.0) -> Tensor:
    """Entropic optimal transport between queries and keys, by Sinkhorn's iteration (Cuturi, NeurIPS 2013).

    Args:
        similarities: `(N, S, S)`, queries in rows.
        hard: Whether the kernel grows with the similarity, exp(c / epsilon), or falls, exp((1 - c) / epsilon).
        epsilon: Weight of the entropy.

    Returns:
        `(N, S, S)` plan whose columns sum to 1, and whose rows nearly do; the diagonal is next to nothing.
    """
    values = similarities if hard else 1.0 - similarities
    kernel = (values.masked_fill(_diagonal(values), _OWN_COST) / epsilon).exp()
    columns = kernel.new_ones(kernel.shape[0], 1, kernel.shape[2])  # v
    for _ in range(_ITERATIONS):
        rows = 1.0 / (columns @ kernel.transpose(1, 2))  # (N, 1, S), u
        columns = 1.0 / (rows @ kernel)
    return rows.transpose(1, 2) * kernel * columns


def hdce_loss(
    query: Tensor,
    key: Tensor,
    temperature: float = 0.07,
    negatives: str = "image",
    gamma: float | None = None,
    external: None = None,
) -> Tensor:
    """Decoupled contrastive loss with hard negatives (hDCE: Jung, Kwon, Ye, CVPR 2022).

    log sum_{j != i} exp((w_ij c_ij - c_ii) / tau): the positive is not in the denominator (Yeh et al., ECCV 2022). As
    in the authors' code the weight multiplies the similarity, not its exponential. What their code logs is the
    cross-entropy, the softplus of the loss that it differentiates, and of this one.

    Args:
        query: `(N, S, C)` unit vectors of the translations.
        key: `(N, S, C)` unit vectors of the inputs at the same places; no gradient flows into them.
        temperature: Divisor of the similarities, tau.
        negatives: `image`, the other places of the same image, or `minibatch`, those of all images of the batch.
        gamma: Softness of the weights; None weighs all negatives by 1, the decoupled loss alone.
        external: None; negatives of a memory are not supported.

    Returns:
        `(N * S,)` the loss of each patch.
    """
    with torch.autocast(query.device.type, enabled=False):
        query, key = _squares(query, key, negatives)
        similarities = query @ key.transpose(1, 2)  # (N, S, S), positives on the diagonal
        positives = similarities.diagonal(dim1=1, dim2=2).unsqueeze(2)  # (N, S, 1)
        weighted = similarities if gamma is None else hardness(key, gamma) * similarities
        logits = ((weighted - positives) / temperature).masked_fill(_diagonal(weighted), -torch.inf)
        return logits.logsumexp(dim=2).flatten()


def hardness(key: Tensor, gamma: float) -> Tensor:
    """Weights w_ij = exp((r_ij - max_{l != i} r_il) / gamma) in (0, 1], r_ij = k_i . k_j.

    Args:
        key: `(N, S, C)` vectors, which are normalised (again, as in the authors' code).
        gamma: Softness; the greater, the closer all weights are to 1.

    Returns:
        `(N, S, S)`, without a gradient and with a diagonal that means nothing.
    """
    key = key.detach()
    key = key / (key.norm(dim=2, keepdim=True) + 1e-7)  # the authors' epsilon
    relations = key @ key.transpose(1, 2)
    hardest = relations.masked_fill(_diagonal(relations), -torch.inf).amax(dim=2, keepdim=True)
    return ((relations - hardest) / gamma).exp()


def _squares(query: Tensor, key: Tensor, negatives: str) -> tuple[Tensor, Tensor]:
    """Queries and keys among which all similarities count, in full precision; keys without gradient."""
    query, key = full_precision(query), full_precision(key.detach())
    if negatives == "minibatch":  # (N, S, C) of this process -> (1, N * S, C) of all
        return joined_rows(query).flatten(0, 1).unsqueeze(0), all_rows(key).flatten(0, 1).unsqueeze(0)
    return query, key


def _diagonal(square: Tensor) -> Tensor:
    """`(S, S)` mask of the places where a patch meets itself."""
    return torch.eye(square.shape[2], dtype=torch.bool, device=square.device)
