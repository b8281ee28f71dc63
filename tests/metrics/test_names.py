"""The table of metric names, which configs and command lines check against without importing torch."""

import subprocess
import sys

import pytest

from cut.errors import UserError
from cut.metrics import names


def test_every_metric_needs_either_pairs_or_features_and_has_a_line_of_help():
    assert sorted(names.NEEDS_PAIRS + names.READS_FEATURES) == sorted(names.METRICS)
    assert set(names.NEEDS_PALETTE) < set(names.NEEDS_PAIRS)
    assert set(names.LOWER_IS_BETTER) | set(names.HIGHER_IS_BETTER) == set(names.METRICS)
    assert all(names.DESCRIPTIONS[name] for name in names.METRICS)


@pytest.mark.parametrize(
    ("metric", "network", "expected"),
    [
        ("fid", None, "fid"),
        ("fid", "net.pt", "fd[net.pt]"),
        ("kid", "net.pt", "kd[net.pt]"),
        ("recall", "net.pt", "recall[net.pt]"),
        ("ssim", "net.pt", "ssim"),
    ],
)
def test_scores_carry_the_file_of_a_network_that_is_not_inception(metric, network, expected):
    assert names.score_name(metric, network) == expected
    assert names.metric_of(expected) == metric


@pytest.mark.parametrize(
    ("name", "higher"), [("ssim", True), ("lpips", False), ("fd[a.pt]", False), ("recall[a.pt]", True)]
)
def test_the_better_direction_is_known_of_every_score_name(name, higher):
    assert names.is_higher_better(name) is higher


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        (["sism"], "got 'sism', did you mean ssim?; known: ssim, psnr"),
        (["fid", "mAP"], "got 'mAP', did you mean mean_average_precision?; known:"),
        (["xyzzy"], "got 'xyzzy'; known: "),
        ([], "got none; known: "),
    ],
)
def test_an_unknown_name_brings_the_nearest_known_one(given, hint):
    with pytest.raises(UserError) as caught:
        names.check_metrics(given)
    assert str(caught.value).startswith(f"metrics: {hint}")


def test_the_table_imports_nothing_heavy():
    code = "import sys, cut.metrics.names; sys.exit(any(m in sys.modules for m in ('torch', 'numpy', 'PIL')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
