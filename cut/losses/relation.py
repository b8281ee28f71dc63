"""Semantic relation consistency (SRC): patches of the output relate to each other as those of the input do.

Jung, Kwon, Ye, "Exploring Patch-wise Semantic Relation for Contrastive Learning in Image-to-Image Translation Tasks",
CVPR 2022.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from cut.losses import full_precision
from cut.runtime.sharding import all_rows, joined_rows


def relation_over_layers(queries: Sequence[Tensor], keys: Sequence[Tensor], scope: str = "image") -> Tensor:
    """Mean over layers of `relation_loss`; per layer `(N, S, C)` of translations and of inputs."""
    losses = [relation_loss(query, key, scope) for query, key in zip(queries, keys, strict=True)]
    return torch.stack(losses).mean()


def relation_loss(query: Tensor, key: Tensor, scope: str = "image") -> Tensor:
    """Jensen-Shannon divergence of the relations among queries from those among keys.

    A patch's relations are the softmax, without a temperature, of its similarities to all patches, itself included. As
    in the authors' code the divergences of all S patches are added up, not averaged: weights belong to one S.

    Args:
        query: `(N, S, C)` vectors of the translations; they are normalised (again).
        key: `(N, S, C)` vectors of the inputs at the same places; no gradient flows into them.
        scope: `image` relates patches of the same image, `minibatch` all patches of the batch, also where processes
            share it.

    Returns:
        A scalar, the mean over images.
    """
    with torch.autocast(query.device.type, enabled=False):
        query, key = full_precision(query), full_precision(key.detach())
        if scope == "minibatch":  # (N, S, C) of this process -> (1, N * S, C) of all
            query, key = (rows.flatten(0, 1).unsqueeze(0) for rows in (joined_rows(query), all_rows(key)))
        log_q, log_k = _log_relations(query), _log_relations(key)
        q, k = log_q.exp(), log_k.exp()
        log_mean = (0.5 * (q + k)).log()
        divergences = 0.5 * (q * (log_q - log_mean)).sum((1, 2)) + 0.5 * (k * (log_k - log_mean)).sum((1, 2))
        return divergences.mean()


def _log_relations(vectors: Tensor) -> Tensor:
    """`(N, S, C)` -> `(N, S, S)`, whose columns are the logarithms of distributions."""
    vectors = vectors / (vectors.norm(dim=2, keepdim=True) + 1e-7)  # the authors' epsilon
    return (vectors @ vectors.transpose(1, 2)).log_softmax(dim=1)
