"""The projection head H of PatchNCE: samples feature maps at some places and embeds them (CUT, section 3.2)."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cut.models.blocks import normalisation
from cut.runtime.sharding import draw_rows


def random_patch_ids(features: Sequence[Tensor], num_patches: int) -> list[Tensor]:
    """Random places without repetition, one set per layer, shared by all images of the batch.

    Args:
        features: Feature maps `(N, C, H, W)`.
        num_patches: Number of places; a map that has fewer gives all of them.

    Returns:
        Per layer `(min(num_patches, H * W),)` flat indices into the map.
    """
    # Drawn on the CPU, here and below, so that a run visits the same places on every device.
    return [torch.randperm(f.shape[2] * f.shape[3])[:num_patches].to(f.device) for f in features]


def masked_patch_ids(features: Sequence[Tensor], num_patches: int, mask: Tensor) -> tuple[list[Tensor], list[Tensor]]:
    """Random places of each image, those inside a mask first; an image with too few of them gets others too.

    Args:
        features: Feature maps `(N, C, H, W)`.
        num_patches: Number of places; a map that has fewer gives all of them.
        mask: `(N, 1, H', W')` in [0, 1]; a place is inside where the mean over its pixels is at least 1/2.

    Returns:
        Per layer `(N, min(num_patches, H * W))` flat indices into the map, and whether these lie inside.
    """
    places, inside = [], []
    for feature in features:
        is_inside = (
            F.adaptive_avg_pool2d(mask.float(), (feature.shape[2], feature.shape[3])).flatten(1) >= 0.5
        )  # (N, HW)
        orders = random_orders(is_inside.shape[0], is_inside.shape[1], mask.device)
        first = is_inside.gather(1, orders).int().argsort(dim=1, descending=True, stable=True)[:, :num_patches]
        places.append(orders.gather(1, first))
        inside.append(is_inside.gather(1, places[-1]))
    return places, inside


def random_orders(images: int, places: int, device: torch.device) -> Tensor:
    """A random order of all places for each image, `(images, places)`."""
    return draw_rows(lambda rows: torch.stack([torch.randperm(places) for _ in range(rows)]), images).to(device)


def gather_patches(feature: Tensor, ids: Tensor) -> Tensor:
    """Features of a map `(N, C, H, W)` at some places, as `(N, S, C)`; neither it nor its gradient changes its layout.

    `ids` are `(S,)` flat indices, the same for all images, `(N, S)` of each image, or `(N, S, H * W)` weights with
    which places are mixed (`models.attention.attention_rows`).
    """
    if ids.dim() > 1:
        patches = feature.permute(0, 2, 3, 1).flatten(1, 2)  # (N, H, W, C) -> (N, HW, C)
        if ids.dim() == 2:
            return patches.gather(1, ids.unsqueeze(2).expand(-1, -1, patches.shape[2]))
        with torch.autocast(feature.device.type, enabled=False):
            return ids @ patches.to(ids)
    if feature.is_contiguous(memory_format=torch.channels_last):
        return feature.permute(0, 2, 3, 1).flatten(1, 2).index_select(1, ids)  # -> (N, H, W, C) -> (N, HW, C)
    return feature.flatten(2).index_select(2, ids).transpose(1, 2)  # (N, C, HW) -> (N, C, S) -> (N, S, C)


class PatchHead(nn.Module):
    """One two-layer MLP per chosen encoder layer, then L2 normalisation.

    Args:
        feature_channels: Channels of each chosen layer.
        out_channels: Channels of the MLPs and of the embedding (256 in the paper).
        use_mlp: False samples and normalises only, without parameters.
        norm: Normalisation of the maps before they are sampled: `none` as in the paper, or `instance`, so that bright
            and dark regions of a map, and its strong channels, count no more than others.
    """

    def __init__(
        self, feature_channels: Sequence[int], out_channels: int = 256, use_mlp: bool = True, norm: str = "none"
    ):
        super().__init__()
        self.use_mlp = use_mlp
        self.norms = nn.ModuleList(normalisation(norm, width) for width in feature_channels)
        widths = feature_channels if use_mlp else ()
        self.mlps = nn.ModuleList(
            nn.Sequential(nn.Linear(width, out_channels), nn.ReLU(), nn.Linear(out_channels, out_channels))
            for width in widths
        )

    def forward(self, features: Sequence[Tensor], patch_ids: Sequence[Tensor]) -> list[Tensor]:
        """Per layer `(N, C, H, W)` and `(S,)` -> unit vectors `(N, S, out_channels)`, or `(N, S, C)` without MLP."""
        embeddings = []
        for index, (feature, ids) in enumerate(zip(features, patch_ids, strict=True)):
            patches = gather_patches(self.norms[index](feature), ids)
            if self.use_mlp:
                patches = self.mlps[index](patches)
            patches = patches.to(torch.promote_types(patches.dtype, torch.float32))
            embeddings.append(patches / (patches.norm(dim=2, keepdim=True) + 1e-7))  # the authors' epsilon
        return embeddings
