"""Folders of pictures scored against each other, with a tiny TorchScript network behind the Frechet distance."""

import math
import shutil

import numpy as np
import pytest
import torch
from torch import nn

from cut.data.images import write_image
from cut.errors import UserError
from cut.metrics.fid import feature_statistics, frechet_distance
from cut.metrics.kid import kernel_distance
from cut.metrics.manifold import coverage
from cut.metrics.similarity import l1, psnr, ssim
from cut.scoring import feature_store
from cut.scoring.evaluator import Evaluator, evaluate
from cut.scoring.feature_networks import TorchScriptFeatures
from cut.scoring.palette import read_palette

# TorchScript is frozen, but loads on: https://pytorch.org/blog/pytorch-2-11-release-blog/
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit")
PAIRS = ("ssim", "psnr", "l1")
SETS = ("fid", "kid", "precision", "recall", "density", "coverage")
ALL = (*PAIRS, *SETS, "pixel_accuracy", "class_accuracy", "class_iou", "mean_average_precision")
LABELS = {"palette": read_palette("facades")}


def random_pictures(count, seed, shape=(16, 20, 3), dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max, (count, *shape), endpoint=True).astype(dtype)


def blended_pictures():
    """Generated pictures, half noise, and their targets."""
    target = random_pictures(9, seed=0)
    return target // 2 + random_pictures(9, seed=1) // 2, target


def values(score):
    return [number for number in (score.value, score.std, score.low, score.high) if number is not None]


def write_folder(folder, pictures, suffix=".png"):
    for index, picture in enumerate(pictures):
        write_image(folder / f"{index:03}{suffix}", picture)
    return folder


@pytest.fixture
def features(tmp_path):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1))
    torch.jit.script(network).save(str(tmp_path / "net.pt"))
    return TorchScriptFeatures(tmp_path / "net.pt")


@pytest.fixture
def folders(tmp_path):
    return tuple(
        write_folder(tmp_path / n, p) for n, p in zip(("generated", "target"), blended_pictures(), strict=True)
    )


def test_every_score_equals_the_metric_applied_by_hand(folders, features):
    result = evaluate(*folders, features=features)
    generated, target = blended_pictures()
    assert list(result.scores) == ["ssim", "psnr", "l1", "fd[net.pt]"]
    for name, metric in (("ssim", ssim), ("psnr", psnr), ("l1", l1)):
        values = [metric(a / 255, b / 255) for a, b in zip(generated, target, strict=True)]
        score = result.scores[name]
        assert (score.value, score.std) == pytest.approx((np.mean(values), np.std(values)), rel=1e-9)
        assert score.count == 9
    batches = (torch.from_numpy(a).permute(0, 3, 1, 2).float() / 255 for a in (generated, target))
    statistics = [feature_statistics([features(batch).numpy()]) for batch in batches]
    assert result.scores["fd[net.pt]"].value == pytest.approx(
        frechet_distance(*statistics[0], *statistics[1]), rel=1e-4
    )
    assert (result.num_generated, result.num_target, result.warnings) == (9, 9, [])


def test_batch_size_does_not_change_a_score(folders, features):
    results = [evaluate(*folders, ALL, features=features, batch_size=n, **LABELS).scores for n in (1, 4, 99)]
    for name, score in results[0].items():
        for other in results[1:]:
            # The network's own float32 rounding, whose roots the Frechet distance sums up; the others are exact.
            assert values(other[name]) == pytest.approx(values(score), rel=1e-6), name


def test_neither_names_nor_order_of_the_pictures_change_a_score_by_a_single_bit(folders, features, tmp_path):
    before = evaluate(*folders, ALL, features=features, **LABELS)
    order = np.random.default_rng(5).permutation(9)
    renamed = [tmp_path / "renamed" / folder.name for folder in folders]
    for folder, copy in zip(folders, renamed, strict=True):
        (copy / "nested").mkdir(parents=True)
        for number, path in zip(order, sorted(folder.iterdir()), strict=True):
            shutil.copy(path, copy / ("nested" if number % 2 else "") / f"{number}.png")
    after = evaluate(*renamed, ALL, features=features, **LABELS)
    assert [values(score) for score in after.scores.values()] == [values(score) for score in before.scores.values()]


def test_a_folder_against_itself_is_at_distance_zero(folders, features, tmp_path):
    shuffled = write_folder(tmp_path / "shuffled", random_pictures(9, seed=0)[::-1])
    distance = evaluate(shuffled, folders[1], ["fid"], features=features).scores["fd[net.pt]"].value
    assert distance == pytest.approx(0.0, abs=1e-8)


def test_scores_of_another_network_carry_its_file_and_come_in_the_order_asked_for(folders, features):
    metrics = ["coverage", "l1", "kid", "fid", "recall", "density", "precision"]
    result = evaluate(*folders, metrics, features=features)
    expected = ["coverage[net.pt]", "l1", "kd[net.pt]", "fd[net.pt]"]
    assert list(result.scores)[:4] == expected and len(result.scores) == 7
    batches = (torch.from_numpy(p).permute(0, 3, 1, 2).float() / 255 for p in blended_pictures())
    ours, theirs = (features(batch).numpy() for batch in batches)
    assert result.scores["kd[net.pt]"].value == pytest.approx(kernel_distance(ours, theirs).mean, rel=1e-4)
    assert result.scores["coverage[net.pt]"].value == coverage(ours, theirs).mean()
    assert all(score.low <= score.value <= score.high for score in result.scores.values())


def test_without_intervals_the_scores_are_the_same(folders, features):
    with_intervals = evaluate(*folders, ALL, features=features, **LABELS).scores
    without = evaluate(*folders, ALL, features=features, intervals=False, **LABELS).scores
    assert {name: score.value for name, score in without.items()} == {n: s.value for n, s in with_intervals.items()}
    assert all(score.low is None and score.high is None for score in without.values())


def test_a_network_sees_a_target_once_when_its_features_are_kept(folders, features, tmp_path):
    first = evaluate(*folders, SETS, features=features, store=tmp_path / "store")
    seen = []
    features.register_forward_pre_hook(lambda _, images: seen.append(len(images[0])))
    again = evaluate(*folders, SETS, features=features, store=tmp_path / "store")
    assert sum(seen) == 9  # the generated ones
    assert again.scores == first.scores
    write_folder(folders[1], random_pictures(1, seed=7))  # another picture of an old name
    assert evaluate(*folders, SETS, features=features, store=tmp_path / "store").scores != first.scores
    assert sum(seen) == 27
    assert len(list((tmp_path / "store").iterdir())) == 2


def test_kept_statistics_suffice_for_fid_and_the_network_runs_again_for_the_others(
    folders, features, tmp_path, monkeypatch
):
    monkeypatch.setattr(feature_store, "_MOST_FEATURES_BYTES", 1)
    settings = {"features": features, "store": tmp_path / "store"}
    first = evaluate(*folders, SETS, **settings)
    seen = []
    features.register_forward_pre_hook(lambda _, images: seen.append(len(images[0])))
    assert evaluate(*folders, ["fid"], **settings).scores["fd[net.pt]"] == first.scores["fd[net.pt]"]
    assert sum(seen) == 9
    assert evaluate(*folders, SETS, **settings).scores == first.scores
    assert sum(seen) == 27


def test_kept_features_of_another_width_are_computed_again(folders, features, tmp_path):
    settings = {"features": features, "store": tmp_path / "store"}
    first = evaluate(*folders, SETS, **settings)
    (entry,) = (tmp_path / "store").iterdir()
    with np.load(entry) as kept:
        narrow = kept["features"][:, :2]
    np.savez(entry, features=narrow)
    assert evaluate(*folders, SETS, **settings).scores == first.scores


def test_a_store_that_cannot_be_written_is_a_warning(folders, features, tmp_path):
    (tmp_path / "file").write_text("")
    result = evaluate(*folders, ["fid"], features=features, store=tmp_path / "file" / "store")
    assert any("features cannot be kept there" in warning for warning in result.warnings)


def test_pictures_of_many_sizes_are_scored_together(features, tmp_path):
    for name, seed in (("generated", 0), ("target", 1)):
        for index, side in enumerate((12, 12, 16, 12, 20, 20)):
            write_image(tmp_path / name / f"{index}.png", random_pictures(1, seed + index, (side, side, 3))[0])
    result = evaluate(tmp_path / "generated", tmp_path / "target", ["fid", "l1"], features=features, batch_size=2)
    assert list(result.scores) == ["fd[net.pt]", "l1"]
    assert all(math.isfinite(score.value) for score in result.scores.values())


def test_better_pictures_get_better_scores_in_every_metric(folders, features, tmp_path):
    evaluator = Evaluator(folders[1], features=features)
    better, worse = (
        evaluator.score(folders[0]),
        evaluator.score(write_folder(tmp_path / "w", random_pictures(9, 2) // 4)),
    )
    for name, higher in (("ssim", True), ("psnr", True), ("l1", False), ("fd[net.pt]", False)):
        assert (better.scores[name].value > worse.scores[name].value) is higher, name


def test_partners_are_found_in_nested_folders_and_under_other_suffixes(tmp_path):
    pictures = random_pictures(2, seed=0)
    write_folder(tmp_path / "generated" / "street", pictures, suffix=".png")
    write_folder(tmp_path / "target" / "street", pictures, suffix=".bmp")
    assert evaluate(tmp_path / "generated", tmp_path / "target", ["l1"]).scores["l1"].value == 0.0


def test_a_missing_partner_is_named_and_counted(folders):
    for name in ("003.png", "005.png"):
        (folders[1] / name).unlink()
    with pytest.raises(UserError, match=r"generated.003\.png: no partner in .*target \(2 of 9 pictures have none\)"):
        evaluate(*folders, PAIRS)


def test_the_frechet_distance_needs_no_partners_but_warns_of_too_few_pictures(folders, features):
    for name in ("003.png", "005.png", "006.png", "007.png"):
        (folders[1] / name).unlink()
    result = evaluate(*folders, ["fid"], features=features)
    assert (result.num_generated, result.num_target) == (9, 5)
    assert [w.split(",")[0] for w in result.warnings] == ["fd[net.pt] of 5 pictures"]


def test_target_pictures_without_a_counterpart_are_counted_in_a_warning(folders):
    (folders[0] / "000.png").unlink()
    result = evaluate(*folders, PAIRS)
    assert result.scores["l1"].count == 8
    assert result.warnings == [f"ssim, psnr, l1: cover 8 of 9 pictures of {folders[1]}"]


def test_two_pictures_of_one_name_are_refused_for_pairs(folders):
    write_folder(folders[1], random_pictures(1, seed=0), suffix=".bmp")
    with pytest.raises(UserError, match=r"000\.bmp and .*000\.png have one name, apart from the suffix"):
        evaluate(*folders, PAIRS)


def test_a_difference_in_size_is_named_and_counted(folders):
    write_folder(folders[0], random_pictures(2, seed=3, shape=(12, 20, 3)))
    with pytest.raises(
        UserError, match=r"000\.png: differs in size .*000\.png, 20x12 and 20x16 px \(2 of 9 pairs differ\)"
    ):
        evaluate(*folders, PAIRS)


def test_a_picture_below_the_ssim_window_is_named(tmp_path):
    for name in ("generated", "target"):
        write_folder(tmp_path / name, random_pictures(1, seed=0, shape=(8, 8, 3)))
    with pytest.raises(UserError, match=r"000\.png: picture of 8x8 px is smaller than ssim's window"):
        evaluate(tmp_path / "generated", tmp_path / "target", PAIRS)


def test_sixteen_bits_are_compared_at_their_own_scale_even_with_eight(tmp_path):
    eight = random_pictures(2, seed=0, shape=(12, 12, 1))
    sixteen = eight.astype(np.uint16) * 257  # the same brightness: 255 * 257 = 65535
    write_folder(tmp_path / "eight", eight)
    write_folder(tmp_path / "sixteen", sixteen)
    write_folder(tmp_path / "off_by_one", sixteen ^ 1)
    assert evaluate(tmp_path / "sixteen", tmp_path / "eight", ["l1"]).scores["l1"].value == pytest.approx(
        0.0, abs=1e-12
    )
    off_by_one = evaluate(tmp_path / "off_by_one", tmp_path / "sixteen", ["l1", "psnr"]).scores
    assert off_by_one["l1"].value == pytest.approx(1 / 65535)
    assert off_by_one["psnr"].value == pytest.approx(20 * math.log10(65535))


def test_identical_pictures_are_left_out_of_the_mean_psnr_and_counted(folders):
    pictures = random_pictures(9, seed=0)
    write_folder(folders[0], pictures[:8])
    last = evaluate(*folders, ["psnr"])
    assert last.scores["psnr"].count == 1 and math.isfinite(last.scores["psnr"].value)
    assert last.warnings == ["psnr: infinite for 8 of 9 pairs, identical pictures, left out of its mean"]
    write_folder(folders[0], pictures)
    assert evaluate(*folders, ["psnr"]).scores["psnr"].value == math.inf


def test_one_picture_is_too_few_for_a_covariance(folders, features, tmp_path):
    write_folder(tmp_path / "single", random_pictures(1, seed=0))
    with pytest.raises(UserError, match="single: holds 1 picture; fid needs 2 or more"):
        evaluate(tmp_path / "single", folders[1], ["fid"], features=features)


def test_features_that_are_not_finite_are_refused(folders, tmp_path):
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(3, 2, 1))
    nn.init.constant_(network[1].weight, math.nan)
    torch.jit.script(network).save(str(tmp_path / "nan.pt"))
    with pytest.raises(UserError, match=r"fd\[nan\.pt\]: the network gives features that are not finite"):
        evaluate(*folders, ["fid"], features=TorchScriptFeatures(tmp_path / "nan.pt"))


@pytest.mark.parametrize("metrics", [["ssim", "sism"], []])
def test_an_unknown_metric_lists_the_known_ones(folders, metrics):
    with pytest.raises(UserError, match="metrics: got .*; known: ssim, psnr, l1"):
        evaluate(*folders, metrics)


def test_a_batch_size_of_zero_is_refused(folders):
    with pytest.raises(UserError, match="batch size: got 0; allowed: 1 or more"):
        evaluate(*folders, PAIRS, batch_size=0)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_network_whose_features_vary_with_the_size_is_told_where_the_targets_were_kept_too(tmp_path):
    class Columns(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images.mean((1, 2))  # (N, W)

    torch.jit.script(Columns()).save(str(tmp_path / "columns.pt"))
    for folder, width in (("narrow", 8), ("wide", 9)):
        for index in range(3):
            write_image(tmp_path / folder / f"{index}.png", np.full((8, width, 3), 60 * index, dtype=np.uint8))
    fresh = {"features": TorchScriptFeatures(tmp_path / "columns.pt"), "store": tmp_path / "store", "intervals": False}
    evaluate(tmp_path / "wide", tmp_path / "wide", ("fid",), **fresh)
    again = fresh | {"features": TorchScriptFeatures(tmp_path / "columns.pt")}
    with pytest.raises(UserError, match="columns.pt: gives 9 features for images of .* and 8 for others"):
        evaluate(tmp_path / "narrow", tmp_path / "wide", ("fid",), **again)
