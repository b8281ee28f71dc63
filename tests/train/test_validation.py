"""Scores while training: the same as cut-test and cut-eval give, and no trace in the run."""

import json
import platform
import shutil

import pytest
import torch
from conftest import make_idx, make_paired
from programs import call, inside, told

from cut.build import build_trainer, read_config
from cut.data.images import read_image
from cut.errors import UserError
from cut.report.read_run import read_runs
from cut.scoring.evaluator import Evaluator
from cut.storage.checkpoint import list_checkpoints, load_checkpoint
from cut.train.run_dir import open_run
from cut.train.schedules import plateau_reductions
from cut.train.validation import Validation

EVAL = "eval={every_steps: 2, metrics: [l1, ssim]}"


def train(path, run_dir, *overrides, steps=None, resume=False):
    trainer = build_trainer(read_config(path, overrides))
    open_run(trainer, run_dir, resume)
    trainer.last_step = steps or trainer.last_step
    trainer.fit(run_dir)
    return trainer


def logged(run_dir, kind="eval/"):
    entries = [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]
    return [{k: v for k, v in e.items() if k != "time"} for e in entries if any(k.startswith(kind) for k in e)]


@pytest.fixture
def features(tmp_path):
    """A feature network: the pictures' means over 2 x 2 regions."""

    class Means(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.adaptive_avg_pool2d(images, (2, 2)).flatten(1)

    with pytest.warns((DeprecationWarning, FutureWarning)):
        torch.jit.script(Means()).save(tmp_path / "means.pt")
    return tmp_path / "means.pt"


@pytest.fixture
def pix2pix_yaml(tmp_path):
    path = tmp_path / "pix2pix.yaml"
    path.write_text(
        f"""
method: {{name: pix2pix}}
generator: {{base_channels: 2, image_px: 64}}
discriminator: {{base_channels: 2, receptive_field_px: 34, norm: batch}}
data: {{root: "{make_paired(tmp_path / "pairs")}", direction: BtoA, load_px: 72, crop_px: 64, num_workers: 0}}
schedule: {{name: constant, total_steps: 4}}
train: {{log_every_steps: 2, num_samples: 2, accelerator: cpu, tensorboard: false}}
"""
    )
    return path


@pytest.mark.parametrize("kind", ["cut", "pix2pix", "dcgan"])
def test_a_run_with_scores_has_the_weights_of_one_without(
    kind, tiny_yaml, pix2pix_yaml, tiny_dcgan_yaml, features, tmp_path
):
    path = {"cut": tiny_yaml, "pix2pix": pix2pix_yaml, "dcgan": tiny_dcgan_yaml}[kind]
    scored = (
        EVAL if kind != "dcgan" else f"eval={{every_steps: 2, metrics: [fid], features: {features}, num_images: 8}}"
    )
    common = ["train.ema_decay=0.9", "train.max_steps=4", "data.num_workers=0"]
    without = train(path, tmp_path / "without", *common)
    with_scores = train(path, tmp_path / "with", *common, scored)
    assert len(with_scores.evaluations.history) == 2
    for one, other in zip(without.method.state_dict().values(), with_scores.method.state_dict().values(), strict=True):
        assert torch.equal(one, other)
    for one, other in zip(without.ema.state_dict().values(), with_scores.ema.state_dict().values(), strict=True):
        assert torch.equal(one, other)


@pytest.fixture
def munit_yaml(tmp_path, unpaired):
    path = tmp_path / "munit.yaml"
    path.write_text(
        f"""
method:
  name: munit
  generator: {{base_channels: 2, num_blocks: 1, style_dim: 4, mlp_channels: 8}}
  discriminator: {{base_channels: 2, num_layers: 2, num_scales: 1}}
data: {{root: "{unpaired}", load_px: 36, crop_px: 32, num_workers: 0}}
schedule: {{name: constant, total_steps: 4}}
train: {{num_samples: 1, accelerator: cpu, tensorboard: false}}
"""
    )
    return path


def test_a_method_with_styles_is_scored_with_the_same_styles_every_time(
    munit_yaml, unpaired, features, tmp_path, monkeypatch
):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    scores = f"eval={{every_steps: 2, metrics: [l1, diversity], features: {features}, best: diversity}}"
    trainer = train(munit_yaml, tmp_path / "run", scores, "optim.lr=1e-30")  # which leaves all weights as they are
    first, last = (entry["scores"]["last"] for entry in trainer.evaluations.history)
    assert first == last and last["diversity[means.pt]"] > 0
    assert trainer.evaluations.best["step"] == 2  # by diversity, of which the first of equals is the best
    (run,) = read_runs([tmp_path / "run"])
    assert "scores: each picture was translated with one random style, the same at every evaluation" in run.notes
    folder, target = tmp_path / "run" / "evaluation" / "last_outputs", unpaired / "testB"
    inside(
        "test",
        "--run",
        tmp_path / "run",
        "--input",
        target.with_name("testA"),
        "--num-outputs",
        5,
        "--output",
        tmp_path / "five",
    )
    for path in sorted(folder.iterdir()):
        if path.suffix == ".png":
            difference = read_image(path, 3).astype(int) - read_image(tmp_path / "five" / path.name, 3)
            assert abs(difference).max() <= 1, path
    assert len(list(folder.glob("*.png"))) == 5 * len(list(target.iterdir()))


def test_diversity_of_a_method_without_styles_is_refused(tiny_yaml, features, tmp_path):
    scores = f"eval={{every_steps: 2, metrics: [diversity], features: {features}}}"
    with pytest.raises(UserError, match=r"eval\.metrics: diversity compares several outputs .* cut gives one"):
        train(tiny_yaml, tmp_path / "run", scores)


def test_a_scoring_network_that_draws_its_first_weights_leaves_the_runs_streams_alone(tiny_yaml, tmp_path, monkeypatch):
    make = Validation._evaluator
    monkeypatch.setattr(Validation, "_evaluator", lambda self: torch.rand(3).sum() and make(self))  # as Inception does
    weights = train(tiny_yaml, tmp_path / "with", EVAL, "train.max_steps=2").method.state_dict()
    for key, value in train(tiny_yaml, tmp_path / "without", "train.max_steps=2").method.state_dict().items():
        assert torch.equal(weights[key], value), key


@pytest.mark.parametrize("kind", ["cut", "pix2pix"])
def test_scores_are_those_of_cut_test_and_cut_eval(kind, tiny_yaml, pix2pix_yaml, tmp_path):
    path = {"cut": tiny_yaml, "pix2pix": pix2pix_yaml}[kind]
    trainer = train(path, tmp_path / "run", EVAL, "train.ema_decay=0.5", "train.max_steps=4")
    pictures = trainer.monitor.validation.pictures
    inside("test", "--run", tmp_path / "run", "--input", pictures.inputs, "--output", tmp_path / "out")
    expected = Evaluator(pictures.targets, ("l1", "ssim")).score(tmp_path / "out").scores
    scores = logged(tmp_path / "run")[-1]
    assert scores["step"] == 4
    assert scores["eval/ema/l1"] == expected["l1"].value and scores["eval/ema/ssim"] == expected["ssim"].value
    assert scores["eval/last/l1"] != scores["eval/ema/l1"]


def test_the_untranslated_inputs_are_scored_first(tiny_yaml, unpaired, tmp_path):
    train(tiny_yaml, tmp_path / "run", EVAL)
    expected = Evaluator(unpaired / "testB", ("l1", "ssim")).score(unpaired / "testA").scores
    first = logged(tmp_path / "run")[0]
    assert first["step"] == 0 and first["eval/input/l1"] == expected["l1"].value


def test_best_is_kept_and_told_beside_the_last(tiny_yaml, tmp_path, monkeypatch, capsys):
    values = iter([0.9, 0.5, 0.3, 0.4])  # the first is that of the inputs
    monkeypatch.setattr(Validation, "_score", lambda self, folder: {"l1": next(values)})
    inside_train = ["--config", tiny_yaml, "--run-dir", tmp_path / "run", "--set", EVAL]
    inside("train", *inside_train)
    best = torch.load(tmp_path / "run" / "best.pt", weights_only=True)
    assert best["step"] == 4
    kept = torch.load(tmp_path / "run" / "checkpoints" / "step_00000004.pt", weights_only=True)
    assert all(torch.equal(best["method"][key], value) for key, value in kept["method"].items())
    assert "l1: last 0.4 (step 6), best 0.3 (step 4, best.pt)" in capsys.readouterr().out
    assert json.loads((tmp_path / "run" / "evaluation.json").read_text())["best"]["value"] == 0.3


def test_higher_is_better_where_the_metric_says_so(tiny_yaml, tmp_path, monkeypatch):
    values = iter([0.9, 0.5, 0.3, 0.4])  # the first is that of the inputs
    monkeypatch.setattr(Validation, "_score", lambda self, folder: {"l1": 1.0, "ssim": next(values)})
    trainer = train(tiny_yaml, tmp_path / "run", "eval={every_steps: 2, metrics: [l1, ssim], best: ssim}")
    assert trainer.evaluations.best["step"] == 2


def test_a_resumed_run_has_the_scores_of_a_straight_one(tiny_yaml, tmp_path):
    settings = (EVAL, "train.checkpoint_every_steps=4")
    train(tiny_yaml, tmp_path / "straight", *settings)
    train(tiny_yaml, tmp_path / "resumed", *settings, steps=4)
    resumed = train(tiny_yaml, tmp_path / "resumed", *settings)
    assert logged(tmp_path / "straight") == logged(tmp_path / "resumed")
    assert [entry["step"] for entry in resumed.evaluations.history] == [2, 4, 6]


def test_a_run_stops_where_it_gets_no_better_and_is_finished_then(tiny_yaml, tmp_path, monkeypatch, capsys):
    values = iter([0.9, 0.3, 0.4, 0.5])
    monkeypatch.setattr(Validation, "_score", lambda self, folder: {"l1": next(values)})
    settings = ["--set", "eval={every_steps: 1, metrics: [l1], patience: 2}", "--run-dir", tmp_path / "run"]
    inside("train", "--config", tiny_yaml, *settings)
    assert [p.name for p in sorted((tmp_path / "run" / "checkpoints").iterdir())][-1] == "step_00000003.pt"
    inside("train", "--config", tiny_yaml, *settings)
    assert "finished already" in capsys.readouterr().out


def test_a_plateau_schedule_follows_the_scores(tiny_yaml, tmp_path, monkeypatch):
    values = iter([0.9, 0.5, 0.6, 0.7, 0.4, 0.9, 0.4, 0.4])  # 0.9 is that of the inputs, once per process
    monkeypatch.setattr(Validation, "_score", lambda self, folder: {"l1": next(values)})
    schedule = "schedule={name: plateau, total_steps: 6, factor: 0.1, patience: 2}"
    settings = (schedule, "eval={every_steps: 1, metrics: [l1]}", "train.log_every_steps=1", "optim.lr=1.0e-4")
    train(tiny_yaml, tmp_path / "run", *settings, steps=4)
    train(tiny_yaml, tmp_path / "run", *settings)
    rates = [entry["lr"] for entry in logged(tmp_path / "run", "lr")]
    assert rates == pytest.approx([1e-4, 1e-4, 1e-4, 1e-5, 1e-5, 1e-5])


def test_scores_by_other_settings_do_not_count(tiny_yaml, tmp_path, monkeypatch, capsys):
    values = iter([0.9, 0.1, 0.2, 0.3, 0.9, 0.6, 0.7])  # 0.9 is that of the inputs, once per process
    monkeypatch.setattr(Validation, "_score", lambda self, folder: {"l1": next(values), "ssim": 0.5})
    run = ["--config", tiny_yaml, "--run-dir", tmp_path / "run", "--set"]
    setting = "eval={{every_steps: 1, metrics: [l1, ssim], patience: 2, {}}}"
    inside("train", *run, setting.format("split: test"))  # no better than the first twice: ends at step 3
    one_more = ["--set", "train.max_steps=5", "--resume"]
    inside("train", *run, setting.format("num_images: 3"), *one_more)
    assert "l1: last 0.7 (step 5), best 0.6 (step 4, best.pt)" in capsys.readouterr().out
    assert torch.load(tmp_path / "run" / "best.pt", weights_only=True)["step"] == 4


@pytest.mark.parametrize(
    "evaluations",
    [
        3,
        [{"step": "x", "scores": "y", "settings": 3}],
        [{"step": 2, "scores": {}}],
        [{"step": 2, "scores": {"ema": {"l1": 1.0}}}],
        [{"step": 2, "scores": {"last": {"l1": "small"}}}],
        [{"step": 2, "scores": {"last": {"l1": torch.zeros(())}}}],
        [{"step": 2, "scores": {"last": {"l1": 1.0}}, "settings": {}}],
        [{"step": 2, "scores": {"last": {0: 1.0}}}],
        [{"step": 2, "scores": {"last": {"l1": 1.0}}}, None],
    ],
    ids=str,
)
def test_evaluations_of_another_kind_in_a_checkpoint_are_told_on_one_line(tiny_yaml, tmp_path, evaluations):
    run = tmp_path / "run"
    train(tiny_yaml, run, "eval={every_steps: 2, metrics: [l1]}", steps=2)
    path = run / "checkpoints" / "step_00000002.pt"
    torch.save(torch.load(path, weights_only=True) | {"evaluations": evaluations}, path)
    with pytest.raises(UserError, match=r"step_00000002.pt: holds a state .* its evaluations are no scores"):
        train(tiny_yaml, run, "eval={every_steps: 2, metrics: [l1]}")


def test_a_plateau_starts_anew_where_the_settings_change():
    assert plateau_reductions([-0.1, -0.2, -0.3], 2) == 1
    assert plateau_reductions([-0.1, -0.2, None, -0.3, -0.4], 2) == 0
    assert plateau_reductions([-0.1, -0.2, -0.3, None, 5.0, 4.0, 3.0], 2) == 2


def test_a_picture_too_large_for_the_memory_does_not_end_the_run(tiny_yaml, tmp_path, monkeypatch, capsys):
    def too_large(*arguments):
        raise torch.OutOfMemoryError("CUDA out of memory.")

    monkeypatch.setattr(Validation, "score", too_large)
    assert train(tiny_yaml, tmp_path / "run", EVAL).step == 6
    assert "step 2: not evaluated: CUDA out of memory." in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["cut", "pix2pix"])
def test_pictures_that_differ_in_their_suffix_only_are_told_at_once(kind, tiny_yaml, pix2pix_yaml, unpaired, tmp_path):
    folder = unpaired / "testA" if kind == "cut" else tmp_path / "pairs" / "test"
    shutil.copyfile(folder / "0.png", folder / "0.bmp")
    with pytest.raises(UserError, match=r"0\.bmp and .*0\.png would both become 0\.png"):
        train(tiny_yaml if kind == "cut" else pix2pix_yaml, tmp_path / "run", EVAL)


def test_an_infinite_score_is_null_in_the_summary(tiny_yaml, tmp_path, monkeypatch):
    monkeypatch.setattr(Validation, "_score", lambda self, folder: {"psnr": float("inf")})
    train(tiny_yaml, tmp_path / "run", "eval={every_steps: 6, metrics: [psnr]}")
    text = (tmp_path / "run" / "evaluation.json").read_text()
    assert "Infinity" not in text and json.loads(text)["metrics"] == {"psnr": None}


def test_a_run_that_was_killed_before_its_first_checkpoint_logs_nothing_twice(tiny_yaml, tmp_path):
    train(tiny_yaml, tmp_path / "run", EVAL)
    shutil.rmtree(tmp_path / "run" / "checkpoints")
    train(tiny_yaml, tmp_path / "run", EVAL)
    assert [entry["step"] for entry in logged(tmp_path / "run")] == [0, 2, 4, 6]


def test_a_finished_run_keeps_the_environment_it_ran_in(tiny_yaml, tmp_path):
    train(tiny_yaml, tmp_path / "run")
    before = (tmp_path / "run" / "environment.json").read_text()
    inside("train", "--config", tiny_yaml, "--run-dir", tmp_path / "run")
    assert (tmp_path / "run" / "environment.json").read_text() == before


def test_pairs_are_scored_in_the_runs_direction(pix2pix_yaml, tmp_path):
    trainer = train(pix2pix_yaml, tmp_path / "run", EVAL)
    pictures = trainer.monitor.validation.pictures
    inputs = Evaluator(pictures.targets, ("l1",)).score(pictures.inputs)
    assert logged(tmp_path / "run")[0]["eval/input/l1"] == inputs.scores["l1"].value > 0.3
    content = json.loads((tmp_path / "run" / "evaluation.json").read_text())
    assert content["pictures"][0] == {
        "name": "0",
        "input": "evaluation/inputs/0.png",
        "translation": "evaluation/last/0.png",
        "target": "evaluation/targets/0.png",
    }


def test_classes_of_pixels_are_scored_by_a_palette(tiny_yaml, tmp_path):
    palette = tmp_path / "palette.yaml"
    palette.write_text("classes: [{name: dark, color: [40, 40, 40]}, {name: bright, color: [200, 200, 200]}]\n")
    setting = f"eval={{every_steps: 6, metrics: [pixel_accuracy, l1], palette: {palette}}}"
    run = tmp_path / "run"
    train(tiny_yaml, run, setting)
    assert logged(run)[0]["eval/input/pixel_accuracy"] < 0.01  # dark where the target is bright
    best, newest = load_checkpoint(run / "best.pt"), load_checkpoint(list_checkpoints(run / "checkpoints")[-1])
    assert best["evaluations"][0]["settings"]["palette"] == str(palette), "a checkpoint holds no class of ours"
    assert newest["evaluations"] == best["evaluations"]


def test_a_chosen_number_of_pictures_is_translated(tiny_yaml, tmp_path):
    train(tiny_yaml, tmp_path / "run", "eval={every_steps: 6, metrics: [l1], num_images: 2}")
    assert sorted(p.name for p in (tmp_path / "run" / "evaluation" / "last").glob("*.png")) == ["0.png", "3.png"]


def test_a_test_picture_that_breaks_while_training_is_told_and_the_run_goes_on(
    tiny_yaml, unpaired, tmp_path, capsys, monkeypatch
):
    trainer = build_trainer(read_config(tiny_yaml, [EVAL]))
    open_run(trainer, tmp_path / "run", False)
    score = Validation.score

    def broken_at_first(*arguments):
        (unpaired / "testA" / "0.png").write_bytes(b"")
        return score(*arguments)

    monkeypatch.setattr(Validation, "score", broken_at_first)
    trainer.fit(tmp_path / "run")
    assert trainer.step == 6 and trainer.evaluations.history == []
    assert "warning: step 2: not evaluated" in capsys.readouterr().err


def test_mistakes_are_told_before_the_first_step(tiny_yaml, tiny_dcgan_yaml, unpaired, tmp_path):
    run = ["--run-dir", tmp_path / "run"]
    for setting, words in (
        ("eval={every_steps: 2, metrics: [ssmi]}", "did you mean ssim"),
        ("eval={metrics: [l1]}", "every_epochs or every_steps"),
        ("eval={every_steps: 2, metrics: [l1], best: ssim}", "none of the metrics"),
        ("eval={every_steps: 2, metrics: [l1], features: net.pt}", "none of the metrics reads a feature network"),
        ("eval={every_steps: 2, metrics: [fid], features: net.pt}", "net.pt: no such file"),
        ("eval={every_steps: 2, metrics: [l1], split: val}", "valA"),
        ("schedule={name: plateau, total_steps: 6}", "plateau follows the scores of eval"),
    ):
        assert words in told("train", "--config", tiny_yaml, "--set", setting, *run), setting
    drawn = ["--config", tiny_dcgan_yaml, "--set", EVAL]
    assert "draws from noise" in told("train", *drawn, *run)


def test_single_pictures_have_no_test_split(tmp_path):
    from cut.config import SingleDataConfig
    from cut.data.evaluation_set import evaluation_set

    with pytest.raises(UserError, match="no test split"):
        evaluation_set(SingleDataConfig(a="a.png", b="b.png"), tmp_path, "test")


def test_noise_is_compared_with_training_pictures(tiny_dcgan_yaml, features, tmp_path):
    make_idx(tmp_path / "digits")
    setting = f"eval={{every_epochs: 2, metrics: [fid], features: {features}}}"
    trainer = train(tiny_dcgan_yaml, tmp_path / "run", setting, "train.max_steps=16")
    assert trainer.evaluations.every_steps == 16  # two epochs of 16 pictures, 2 a batch, whatever a step draws
    assert len(list((tmp_path / "run" / "evaluation" / "last").glob("*.png"))) == 16
    assert f"eval/last/fd[{features.name}]" in logged(tmp_path / "run")[-1]


def test_a_run_tells_its_environment_and_its_seed(tiny_yaml, tmp_path):
    call("train", "--config", tiny_yaml, "--set", "seed=7", "--run-dir", tmp_path / "run")
    content = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert content["seed"] == 7 and content["versions"]["python"] == platform.python_version()
    assert content["parameters"].keys() == {"generator", "discriminator", "patch_head"}
    assert content["command"][1:3] == ["--config", str(tiny_yaml)]
