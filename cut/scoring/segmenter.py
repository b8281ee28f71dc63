"""A segmentation network of the user's own, which reads the classes off photographs."""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cut.errors import UserError
from cut.scoring.torchscript import load_network, run_network, shape_text


class Segmenter(nn.Module):
    """Any TorchScript network that maps `(N, 3, H, W)` in [0, 1] to class scores `(N, K, h, w)`.

    The scores are logits or log-probabilities, of which a softmax gives probabilities. Networks that give several
    things (torchvision: a dictionary with the key `out`; DRN: a tuple, the scores first) are understood. Normalising
    the colours and resizing belong into the file.

    Raises:
        UserError: the file is missing or broken; on a call, the network fails or gives another shape.
    """

    def __init__(self, path: Path, num_classes: int):
        super().__init__()
        self.path, self.num_classes = Path(path), num_classes
        self.network = load_network(self.path)

    @torch.inference_mode()
    def forward(self, images: Tensor, size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """The likeliest class at each pixel, and log p / (1 - p) of all, at the size of the label picture.

        Where that is not the network's own, class scores are resized, bilinear, corners not aligned.

        Args:
            images: `(N, 3, H, W)` in [0, 1].
            size: height and width, in px.

        Returns:
            `(N, height, width)` of int64 and `(N, K, height, width)` of float64, on the CPU.
        """
        output = run_network(self.network, self.path, images)
        scores = output.get("out") if isinstance(output, dict) else output
        scores = scores[0] if isinstance(scores, tuple | list) else scores
        shape = tuple(scores.shape) if isinstance(scores, Tensor) else type(output).__name__
        if not isinstance(scores, Tensor) or scores.dim() != 4 or shape[:2] != (len(images), self.num_classes):
            raise UserError(
                f"{self.path}: gives {shape} for images of {shape_text(images)}; allowed: class scores "
                f"(N, {self.num_classes}, H, W), a channel for each of the palette's {self.num_classes} classes"
            )
        if not scores.isfinite().all():
            raise UserError(f"{self.path}: gives scores that are not finite; check its weights")
        scores = scores.cpu().double()  # Apple's GPUs have no float64
        if tuple(scores.shape[2:]) != tuple(size):
            scores = F.interpolate(scores, size=size, mode="bilinear", align_corners=False)
        return scores.argmax(dim=1), _log_odds(scores)


def _log_odds(scores: Tensor) -> Tensor:
    """log p / (1 - p), p the softmax over classes: each score minus the log of the summed exponentials of the others.

    That keeps the differences between probabilities that round to 1.
    """
    num_classes = scores.shape[1]
    if num_classes == 1:
        return torch.full_like(scores, torch.inf)
    others = [torch.cat([scores[:, :c], scores[:, c + 1 :]], dim=1).logsumexp(dim=1) for c in range(num_classes)]
    return scores - torch.stack(others, dim=1)
