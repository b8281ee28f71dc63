"""Adversarial losses by name. `prediction` is the discriminator's raw score, of any shape; results are scalars.

- `lsgan`: squared distance to 1 (real) and 0 (fake). Mao et al., ICCV 2017, equation 9.
- `vanilla`: binary cross-entropy; the generator maximises log D(G(z)). Goodfellow et al., NeurIPS 2014, section 3.
- `nonsaturating`: the same values written with softplus, as StyleGAN2 and SinCUT have them.
- `saturating`: the minimax game itself: the generator minimises log(1 - D(G(z))). Goodfellow et al. 2014, equation 1.
- `wgangp`: difference of means; needs the gradient penalty. Gulrajani et al., NeurIPS 2017, equation 3.
- `hinge`: Lim & Ye 2017; Miyato et al., ICLR 2018, equations 16 and 17.
- `hinge_clamped`: D's as in `hinge`; the generator pays max(0, 1 - D(G(z))), nothing for images that fool D well enough
  (the code of DCLGAN, Han et al., CVPRW 2021).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from cut.losses import full_precision

GAN_LOSSES = ("lsgan", "vanilla", "nonsaturating", "saturating", "wgangp", "hinge", "hinge_clamped")


def discriminator_loss(prediction: Tensor, real: bool, kind: str) -> Tensor:
    """What the discriminator pays for its scores of real (`real`) or generated images."""
    prediction = full_precision(prediction)
    sign = 1.0 if real else -1.0
    if kind == "lsgan":
        return F.mse_loss(prediction, torch.full_like(prediction, float(real)))
    if kind == "vanilla":
        return F.binary_cross_entropy_with_logits(prediction, torch.full_like(prediction, float(real)))
    if kind in ("nonsaturating", "saturating"):  # -log D and -log(1 - D), where D is the sigmoid of the score
        return F.softplus(-sign * prediction).mean()
    if kind == "wgangp":
        return -sign * prediction.mean()
    if kind in ("hinge", "hinge_clamped"):
        return F.relu(1.0 - sign * prediction).mean()
    raise ValueError(f"no adversarial loss {kind!r}; known: {', '.join(GAN_LOSSES)}")


def generator_loss(prediction: Tensor, kind: str) -> Tensor:
    """What the generator pays for the discriminator's scores of its images."""
    if kind == "hinge":
        return -full_precision(prediction).mean()
    if kind == "saturating":
        return -F.softplus(full_precision(prediction)).mean()
    return discriminator_loss(prediction, real=True, kind=kind)


def decision_threshold(kind: str) -> float | None:
    """The score above which the discriminator says real; None for `wgangp`, whose scores mean nothing one by one."""
    return {"lsgan": 0.5, "wgangp": None}.get(kind, 0.0)
