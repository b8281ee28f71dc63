"""Whether scores use the network whose features a discriminator saw: a run learns to please it."""

from pathlib import Path

import torch

from cut.errors import UserError
from cut.models.efficientnet import EfficientNetLite, name_of
from cut.scoring.torchscript import load_network
from cut.storage.public_weights import PACKAGED, read_feature_weights


def require_unseen(key: str, scorer: str | Path | None, features: str | None) -> None:
    """Refuses a feature network for scores that the discriminator of a run has, too.

    Args:
        key: Option or setting that names it, for the error.
        scorer: Name of `PACKAGED` or TorchScript file; None is Inception, which no discriminator has.
        features: What the discriminator sees through, see `NetworkConfig.seen_features`.

    Raises:
        UserError: It is the same network.
    """
    if scorer is None or features is None or not _is_same(key, str(scorer), features):
        return
    others = [name for name in PACKAGED if name not in (features, str(scorer))]
    raise UserError(
        f"{key} {scorer}: is the network whose features the discriminator saw (discriminator.features {features}), "
        f"so its scores flatter this run; take {' or '.join(others)}, or leave out the metrics that need it"
    )


def _is_same(key: str, scorer: str, features: str) -> bool:
    """By the weights of the first convolution, as they are published and with the batch norm in them."""
    if scorer == features:
        return True
    seen = read_feature_weights("discriminator.features", features)
    network = EfficientNetLite((2,), name_of(seen))
    network.load(seen)
    first = (seen["_conv_stem.weight"], network.stem.weight)
    held = read_feature_weights(key, scorer) if scorer in PACKAGED else load_network(Path(scorer)).state_dict()
    return any(
        tensor.shape == own.shape and torch.allclose(tensor.float(), own, rtol=1e-5)
        for tensor in held.values()
        for own in first
    )
