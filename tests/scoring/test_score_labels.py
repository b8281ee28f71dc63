"""Folders of label pictures, and of photographs that a network reads, scored against label pictures."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from cut.data.images import write_image
from cut.errors import UserError
from cut.scoring.evaluator import evaluate
from cut.scoring.palette import read_palette
from cut.scoring.segmenter import Segmenter

# TorchScript is frozen, but loads on: https://pytorch.org/blog/pytorch-2-11-release-blog/
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit")
METRICS = ("pixel_accuracy", "class_accuracy", "class_iou", "mean_average_precision")
COLORS = np.array([[200, 0, 0], [0, 200, 0], [0, 0, 200], [0, 0, 0]], np.uint8)  # the last is void
VOID = 3
TRUTH = np.array([[[0, 0, 0, 0], [1, 1, 2, VOID]], [[0, 0, 2, 2], [2, 2, 2, VOID]]])
TAKEN = np.array([[[0, 0, 1, 2], [1, 0, 2, 2]], [[0, 1, 2, 2], [2, 2, VOID, 0]]])


def painted(labels):
    """Label pictures of four pixels per label, with some noise as of JPEG."""
    pictures = COLORS[labels].repeat(2, axis=1).repeat(2, axis=2).astype(int)
    noise = np.random.default_rng(0).integers(-25, 26, pictures.shape)
    return np.clip(pictures + noise, 0, 255).astype(np.uint8)


def write_folder(folder, pictures):
    for index, picture in enumerate(pictures):
        write_image(folder / f"{index}.png", picture)
    return folder


@pytest.fixture
def palette(tmp_path):
    names = "{name: a, color: [200, 0, 0]}, {name: b, color: [0, 200, 0]}, {name: c, color: [0, 0, 200]}"
    (tmp_path / "abc.yaml").write_text(f"classes: [{names}]\nignore: [[0, 0, 0]]")
    return read_palette(tmp_path / "abc.yaml")


@pytest.fixture
def folders(tmp_path):
    return write_folder(tmp_path / "generated", painted(TAKEN)), write_folder(tmp_path / "target", painted(TRUTH))


def test_generated_label_pictures_get_the_scores_computed_by_hand_over_all_pixels_at_once(folders, palette):
    result = evaluate(*folders, METRICS, palette=palette)
    # True a: 6, taken for a, a, b, c and a, b; true b: 2, for b, a; true c: 6, five for c, one for void.
    expected = {
        "pixel_accuracy": (3 + 1 + 5) / 14,
        "class_accuracy": (3 / 6 + 1 / 2 + 5 / 6) / 3,
        "class_iou": (3 / (6 + 4 - 3) + 1 / (2 + 3 - 1) + 5 / (6 + 6 - 5)) / 3,
        # precision times recall, and for what remains the share of the class
        "mean_average_precision": (
            (3 / 4 * 3 / 6 + 3 / 6 * 6 / 14) + (1 / 3 * 1 / 2 + 1 / 2 * 2 / 14) + (5 / 6 * 5 / 6 + 1 / 6 * 6 / 14)
        )
        / 3,
    }
    assert {name: score.value for name, score in result.scores.items()} == pytest.approx(expected)
    accuracy = result.scores["pixel_accuracy"]  # of two pictures: between twice the worse and twice the better
    assert (accuracy.count, accuracy.low, accuracy.high) == (2, pytest.approx(4 / 7), pytest.approx(5 / 7))
    assert result.warnings == []


def photographs_and_segmenter(tmp_path, sure=8.0):
    """Photographs of brightness 0, 1/2, 1 for a, b, c; and a network that turns brightness into class scores."""
    brightness = np.array([0, 128, 255], np.uint8)[np.minimum(TAKEN, 2)]
    write_folder(tmp_path / "photos", brightness[..., None].repeat(3, axis=3))
    network = nn.Conv2d(3, 3, 1)
    with torch.no_grad():  # scores that fall with the squared distance to each brightness m: 2 m x - m^2
        means = torch.tensor([0.0, 0.5, 1.0])
        network.weight.copy_((sure * 2 * means / 3)[:, None, None, None].expand(3, 3, 1, 1))
        network.bias.copy_(-sure * means**2)
    torch.jit.script(nn.Sequential(network, nn.Upsample(scale_factor=2.0))).save(str(tmp_path / "net.pt"))
    return tmp_path / "photos", Segmenter(tmp_path / "net.pt", 3)


def test_photographs_are_read_by_the_network_and_compared_with_label_pictures_of_another_size(
    folders, palette, tmp_path
):
    photos, segmenter = photographs_and_segmenter(tmp_path)
    result = evaluate(photos, folders[1], METRICS, palette=palette, segmenter=segmenter)
    # As above, but what was taken for void there, a photograph shows as c.
    assert result.scores["pixel_accuracy"].value == pytest.approx((3 + 1 + 6) / 14)
    assert result.scores["class_iou"].value == pytest.approx((3 / 7 + 1 / 4 + 6 / 7) / 3)
    # Pixels of one brightness share a rank. a: 0, 1/2, 1 -> taken for a, b, c. b: 1/2, then 0 and 1 (equally far).
    of_a = 3 / 6 * 3 / 4 + 2 / 6 * 5 / 7 + 1 / 6 * 6 / 14
    of_b = 1 / 2 * 1 / 3 + 1 / 2 * 2 / 14
    of_c = 6 / 6 * 6 / 7
    expected = (of_a + of_b + of_c) / 3
    assert result.scores["mean_average_precision"].value == pytest.approx(expected)


def test_label_pictures_of_another_size_are_refused(folders, palette, tmp_path):
    write_folder(tmp_path / "generated", painted(TAKEN)[:1, :2])
    with pytest.raises(UserError, match=r"0\.png: differs in size .* 8x2 and 8x4 px \(1 of 2 pairs differ\)"):
        evaluate(*folders, ["class_iou"], palette=palette)


def test_absent_classes_and_a_wrong_palette_are_told(folders, tmp_path):
    result = evaluate(*folders, ["class_iou"], palette=read_palette("cityscapes"))
    assert any("classes do not occur in" in warning and "sidewalk" in warning for warning in result.warnings)
    assert any("are far from all colours of the palette" in warning for warning in result.warnings)


def test_targets_of_nothing_but_void_are_refused(tmp_path, palette):
    write_folder(tmp_path / "void", painted(np.full_like(TRUTH, VOID)))
    with pytest.raises(UserError, match="void: no pixel has a class of the palette"):
        evaluate(tmp_path / "void", tmp_path / "void", ["class_iou"], palette=palette)


def test_sixteen_bits_are_decoded_as_eight(folders, palette, tmp_path):
    deep = write_folder(tmp_path / "deep", painted(TAKEN).astype(np.uint16) * 257)
    scores = [evaluate(folder, folders[1], METRICS, palette=palette).scores for folder in (deep, folders[0])]
    assert scores[0] == scores[1]


def test_class_metrics_without_a_palette_are_a_users_mistake(folders):
    with pytest.raises(UserError, match="metrics: class_iou needs a palette"):
        evaluate(*folders, ["class_iou"])


def test_a_palette_of_hundreds_of_long_names_stays_one_readable_line(folders, tmp_path):
    classes = [{"name": f"{number}{'x' * 150}", "color": [number, 7, 9]} for number in range(200)]
    (tmp_path / "many.yaml").write_text(json.dumps({"classes": classes}))
    warnings = evaluate(*folders, ["class_iou"], palette=read_palette(tmp_path / "many.yaml")).warnings
    (absent,) = [warning for warning in warnings if "do not occur" in warning]
    assert len(absent) < 1500 and absent.endswith(" more")
