"""The names of all scores and what each needs. Imports nothing heavy, so that configs and command lines can check."""

from collections.abc import Sequence

from cut.errors import UserError, nearest

# Each metric in one line, as `cut-eval --help` prints it.
_OF_PAIRS = {
    "ssim": "structural similarity, at most 1",
    "psnr": "peak signal to noise ratio in dB",
    "l1": "mean absolute difference, 0 to 1",
    "ms_ssim": "SSIM over five scales; pictures of more than 160 px",
    "lpips": "learned perceptual distance; pip install cut[lpips]",
    "swd": "sliced Wasserstein distance of patches, wherever they lie",
}
_OF_FEATURES = {
    "fid": "Frechet distance between the two folders' features",
    "kid": "kernel distance between them, unbiased with few pictures",
    "precision": "share of generated pictures among the targets: quality",
    "recall": "share of targets among the generated pictures: variety",
    "density": "precision that single outliers cannot raise; may exceed 1",
    "coverage": "share of targets with a generated picture near by",
}
_OF_OUTPUTS = {
    "diversity": "mean distance between several outputs of one picture",
}
_OF_LABELS = {
    "pixel_accuracy": "share of pixels with the right class",
    "class_accuracy": "the same per class, averaged over classes",
    "class_iou": "intersection over union, averaged over classes",
    "mean_average_precision": "area below precision over recall, averaged over classes",
}

DESCRIPTIONS = _OF_PAIRS | _OF_FEATURES | _OF_OUTPUTS | _OF_LABELS
METRICS = tuple(DESCRIPTIONS)
DEFAULT_METRICS = ("ssim", "psnr", "l1", "fid")
NEEDS_FEATURES = tuple(_OF_FEATURES)  # a feature network
NEEDS_OUTPUTS = tuple(_OF_OUTPUTS)  # several outputs of each picture, and LPIPS or a feature network
NEEDS_PALETTE = tuple(_OF_LABELS)  # the colours of classes, and of photographs a segmentation network too
NEEDS_PAIRS = (*_OF_PAIRS, *_OF_LABELS)  # a target of the same name
NEEDS_COLOURS = (*_OF_FEATURES, *_OF_OUTPUTS, *_OF_LABELS, "lpips")  # one or three channels, which networks know
READS_FEATURES = (*NEEDS_FEATURES, *NEEDS_OUTPUTS)
NUM_OUTPUTS = 5  # of each picture, where the program itself translates for NEEDS_OUTPUTS
WHEREVER = ("swd",)  # of pairs, but does not ask for the same things at the same places
LOWER_IS_BETTER = ("l1", "lpips", "swd", "fid", "kid")
HIGHER_IS_BETTER = tuple(name for name in METRICS if name not in LOWER_IS_BETTER)
_WITH_ANOTHER_NETWORK = {"fid": "fd", "kid": "kd"}  # the I stands for Inception


def check_metrics(metrics: Sequence[str]) -> None:
    """Refuses an empty list and unknown names.

    Raises:
        UserError: A name is unknown; the line has the nearest known one, and all of them.
    """
    unknown = [name for name in metrics if name not in METRICS]
    if metrics and not unknown:
        return
    aliases = {"map": "mean_average_precision", "miou": "class_iou", "iou": "class_iou", "msssim": "ms_ssim"}
    near = [m for name in unknown if (m := nearest(name.lower(), [*METRICS, *aliases]))]
    hint = f", did you mean {aliases.get(near[0], near[0])}?" if near else ""
    given = ", ".join(map(repr, unknown)) or "none"
    raise UserError(f"metrics: got {given}{hint}; known: {', '.join(METRICS)}")


def score_name(metric: str, network: str | None) -> str:
    """How a score is called: as its metric, or with the file of a feature network that is not the usual one.

    Args:
        metric: Name, one of `METRICS`.
        network: File of the feature network, e.g. `net.pt`, with which `fid` becomes `fd[net.pt]`; None for the
            usual one: Inception, or LPIPS for `diversity`.
    """
    if network is None or metric not in READS_FEATURES:
        return metric
    return f"{_WITH_ANOTHER_NETWORK.get(metric, metric)}[{network}]"


def metric_of(name: str) -> str:
    """The metric behind a score's name: `fid` for `fd[net.pt]`."""
    bare = name.partition("[")[0]
    return {short: metric for metric, short in _WITH_ANOTHER_NETWORK.items()}.get(bare, bare)


def is_higher_better(name: str) -> bool:
    """Whether a greater value of this score, named as in a result, is a better one."""
    return metric_of(name) in HIGHER_IS_BETTER
