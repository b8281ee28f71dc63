"""Scores of label maps, as the pix2pix and CUT papers give them for Cityscapes.

The first three are those of Long, Shelhamer & Darrell, "Fully Convolutional Networks for Semantic Segmentation",
CVPR 2015, section 5, as their evaluation and pix2pix's compute them from one matrix n over the pixels of ALL pictures,
n_ij pixels of class i taken for class j, t_i = sum_j n_ij; pixels whose true class is void count nowhere:

    pixel accuracy  sum_i n_ii / sum_i t_i
    class accuracy  mean over i of n_ii / t_i
    class IoU       mean over i of n_ii / (t_i + sum_j n_ji - n_ii)

Classes without a pixel are left out of the means, as by Long et al.; pix2pix's script counts them as 0.

What the CUT paper calls mAP: it names "mean average precision" and the segmentation network DRN, and DRN's own test
program prints class IoU under the name mAP. So compare a published mAP of CUT with `class_iou`. Ours, `average_
precision`, is what the words mean: per class, all pixels are ranked by the network's probability of that class;

    AP = sum over thresholds n, falling, of (R_n - R_{n-1}) P_n       mean_average_precision = mean of AP over classes

with precision P_n and recall R_n of the pixels at or above threshold n, not interpolated. It is neither the AP of
detected objects (COCO) nor interpolated (VOC). Decoded label pictures have no probabilities: the ranking then has two
ranks, the pixels of the class and all others, and AP = P R + (1 - R) share of the class.
"""

import numpy as np

VOID = 255
LEVELS = 512  # of probability, in log odds, for at both ends of 0 to 1 many pixels differ by little


def confusion(target: np.ndarray, prediction: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts pixels by true class (row) and predicted class (column); the last column counts predictions of void.

    Void predictions are mistakes, where the truth is not void itself. Without them this is FCN's `fast_hist`.

    Args:
        target, prediction: Integer class ids, of one shape; `VOID` (any id outside the classes) is not counted.

    Returns:
        `(num_classes, num_classes + 1)` of int64.
    """
    known = (target >= 0) & (target < num_classes)
    rows = target[known].astype(np.int64)
    columns = np.minimum(prediction[known].astype(np.int64), num_classes)
    counts = np.bincount(rows * (num_classes + 1) + columns, minlength=num_classes * (num_classes + 1))
    return counts.reshape(num_classes, num_classes + 1)


def pixel_accuracy(matrix: np.ndarray) -> float:
    """Share of pixels with the right class, 0 to 1, of `(K, K + 1)`; nan where all is void."""
    return float(_ratio(np.trace(matrix), matrix.sum()))


def class_accuracy(matrix: np.ndarray) -> float:
    """Mean over classes of the share of their pixels that got them, 0 to 1, of `(K, K + 1)`."""
    return _mean(_ratio(np.diagonal(matrix), matrix.sum(axis=1)))


def class_iou(matrix: np.ndarray) -> float:
    """Mean over classes of intersection over union, 0 to 1, of `(K, K + 1)`; a class is in it if true or predicted."""
    right = np.diagonal(matrix)
    return _mean(_ratio(right, matrix.sum(axis=1) + matrix[:, :-1].sum(axis=0) - right))


def label_ranking(matrix: np.ndarray) -> np.ndarray:
    """The two ranks of decoded labels, as `probability_ranking` counts them: `(2, K, 2)` of `(K, K + 1)`."""
    taken, right = matrix[:, :-1].sum(axis=0), np.diagonal(matrix)
    everywhere, there = np.full(len(matrix), matrix.sum()), matrix.sum(axis=1)
    return np.stack(
        [np.stack([everywhere - taken, taken], axis=-1), np.stack([there - right, right], axis=-1)]
    )  # rank 0: not taken for the class, rank 1: taken for it


def probability_ranking(target: np.ndarray, log_odds: np.ndarray) -> np.ndarray:
    """Counts pixels by rank: `(2, K, LEVELS)`, of all pixels, and of those that are of the class.

    Args:
        target: `(H, W)` class ids; others than 0 to K - 1 are void, and left out.
        log_odds: `(K, H, W)`, log p / (1 - p) of each class; ranks are 1/16 wide from -16 to 16, beyond which all
            share the outermost.
    """
    num_classes = len(log_odds)
    known = (target >= 0) & (target < num_classes)
    rank = np.clip(np.floor(log_odds[:, known] * 16.0) + LEVELS // 2, 0, LEVELS - 1).astype(np.int64)  # (K, pixels)
    place = rank + LEVELS * np.arange(num_classes)[:, None]
    is_class = target[known] == np.arange(num_classes)[:, None]  # (K, pixels)
    counts = [np.bincount(p, minlength=num_classes * LEVELS) for p in (place.ravel(), place[is_class])]
    return np.stack(counts).reshape(2, num_classes, LEVELS)


def mean_average_precision(ranking: np.ndarray) -> float:
    """Mean over the classes that occur of their average precision, 0 to 1, of `(2, K, ranks)`."""
    pixels, positives = np.cumsum(ranking[..., ::-1], axis=-1)  # (K, ranks) each, from the highest rank down
    precision = np.divide(positives, pixels, out=np.zeros(pixels.shape), where=pixels > 0)
    steps = np.diff(positives, axis=-1, prepend=0)
    return _mean(_ratio(np.sum(steps * precision, axis=-1), positives[:, -1]))


MATRIX_METRICS = {"pixel_accuracy": pixel_accuracy, "class_accuracy": class_accuracy, "class_iou": class_iou}


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, nan where there is no whole."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.full(whole.shape, np.nan), where=whole > 0)


def _mean(values: np.ndarray) -> float:
    """The mean of what is not nan, nan if nothing is."""
    kept = values[~np.isnan(values)]
    return float(kept.mean()) if len(kept) else float("nan")
