"""The loop: what it writes, when it stops, what it leaves alone."""

import json
import random
import signal

import numpy as np
import pytest
import torch
from PIL import Image

from cut.build import build_trainer, load_translator, read_config
from cut.errors import UserError
from cut.runtime.processes import Processes
from cut.runtime.seeding import random_state, restore_random_state, undisturbed
from cut.runtime.signals import Stopped
from cut.train.monitor import draw_sheet
from cut.train.run_dir import open_run


def lines(run_dir):
    return [json.loads(line) for line in (run_dir / "metrics.jsonl").read_text().splitlines()]


def train(path, run_dir, *overrides, resume=False):
    trainer = build_trainer(read_config(path, overrides))
    open_run(trainer, run_dir, resume)
    trainer.fit(run_dir)
    return trainer


def test_a_run_writes_all_its_files(tiny_yaml, tmp_path):
    run = tmp_path / "run"
    train(tiny_yaml, run)
    assert [p.name for p in sorted((run / "checkpoints").glob("*.pt"))] == [f"step_0000000{s}.pt" for s in (2, 4, 6)]
    assert [p.name for p in sorted((run / "samples").glob("*.png"))] == [
        f"step_0000000{s}.png"
        for s in (3, 4, 6)  # every third, the end of the first epoch, the middle and the end
    ]
    assert (run / "config.yaml").is_file() and (run / "generator.safetensors").is_file()
    assert any((run / "tensorboard").iterdir())
    logged = [entry for entry in lines(run) if "lr" in entry]
    assert [entry["step"] for entry in logged] == [2, 4, 6]
    assert [entry["step"] for entry in lines(run) if "health/output_std" in entry] == [3, 4, 6]
    figures = ("lr", "time/seconds_per_step", "time/loading_share", "memory/peak_mib")
    for key in ("loss/generator/nce", "loss/discriminator/gan_real", *figures):
        assert all(np.isfinite(entry[key]) for entry in logged), key
    with Image.open(run / "samples" / "step_00000006.png") as sheet:
        assert sheet.size == (6 + 3 * 70, 24 + 2 * (64 + 24))  # three columns, two rows, twice as large, with labels


def test_resumed_metrics_equal_straight_ones(tiny_yaml, tmp_path):
    train(tiny_yaml, tmp_path / "straight", "train.checkpoint_every_steps=3")
    config = read_config(tiny_yaml, ["train.checkpoint_every_steps=3"])
    first = build_trainer(config)
    open_run(first, tmp_path / "resumed", False)
    first.last_step = 4
    first.config = config.model_copy(update={"train": config.train.model_copy(update={"checkpoint_every_steps": 3})})
    first.fit(tmp_path / "resumed")  # logs and saves at 4 as well
    (tmp_path / "resumed" / "checkpoints" / "step_00000004.pt").unlink()  # killed after the checkpoint of step 3
    second = build_trainer(config)
    open_run(second, tmp_path / "resumed", False)
    assert second.step == 3
    second.fit(tmp_path / "resumed")
    timeless = [
        [
            {k: v for k, v in entry.items() if k.split("/")[0] not in ("time", "memory")}
            for entry in lines(tmp_path / run)
        ]
        for run in ("straight", "resumed")
    ]
    assert timeless[0] == timeless[1]


def test_a_changed_config_is_told_and_resume_accepts_it(tiny_yaml, tmp_path):
    run = tmp_path / "run"
    train(tiny_yaml, run, "train.max_steps=2")
    with pytest.raises(UserError, match=r"another config \(optim.lr: 0.0002 -> 0.001; train.max_steps: 2 -> None\)"):
        train(tiny_yaml, run, "optim.lr=1e-3")
    assert train(tiny_yaml, run, "optim.lr=1e-3", resume=True).step == 6


def test_resume_applies_the_new_optimizer_settings(tiny_yaml, tmp_path):
    train(tiny_yaml, tmp_path / "run", "train.max_steps=2")
    trainer = train(tiny_yaml, tmp_path / "run", "optim.betas=[0.9, 0.99]", "optim.weight_decay=0.1", resume=True)
    groups = [group for optimizer in trainer.optimizers.values() for group in optimizer.param_groups]
    assert all(tuple(group["betas"]) == (0.9, 0.99) and group["weight_decay"] == 0.1 for group in groups)


def test_settings_that_leave_the_weights_alone_may_change(tiny_yaml, tmp_path):
    train(tiny_yaml, tmp_path / "run", "train.checkpoint_every_steps=100")
    (trainer,) = [build_trainer(read_config(tiny_yaml, ["data.num_workers=1", "train.log_every_steps=1"]))]
    assert "going on from step 6 of 6" in open_run(trainer, tmp_path / "run", False)


def test_weights_that_are_not_finite_are_never_saved(tiny_yaml, tmp_path):
    trainer = build_trainer(read_config(tiny_yaml))
    with torch.no_grad():
        trainer.method.generator.layers[1].bias[0] = float("inf")
    with pytest.raises(UserError, match="generator.layers.1.bias is not finite, nothing was saved"):
        trainer.save(tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_broken_picture_stops_the_run_with_its_work_saved(tiny_yaml, unpaired, tmp_path):
    trainer = build_trainer(read_config(tiny_yaml, ["train.checkpoint_every_steps=100"]))
    open_run(trainer, tmp_path / "run", False)
    step = trainer.train_step

    def breaks_pictures(batch):
        step(batch)
        for path in unpaired.rglob("trainA/*.png"):
            path.write_bytes(b"no picture")

    trainer.train_step = breaks_pictures
    with pytest.raises(UserError, match="cannot be read as a picture"):
        trainer.fit(tmp_path / "run")
    again = build_trainer(read_config(tiny_yaml, ["train.checkpoint_every_steps=100"]))
    assert "going on from step 1 of 6" in open_run(again, tmp_path / "run", False)


def test_pictures_of_several_sizes_train_uncropped(tiny_yaml, unpaired):
    for index, path in enumerate(sorted(unpaired.rglob("train?/*.png"))):
        Image.new("RGB", (40 + 4 * index, 40), "green").save(path)
    trainer = build_trainer(read_config(tiny_yaml, ["data.preprocess=none"]))
    for batch in trainer.batches(3):
        trainer.train_step(batch)
    assert all(torch.isfinite(value) for value in trainer.losses.sums.values())


def test_other_networks_cannot_be_resumed(tiny_yaml, tmp_path):
    train(tiny_yaml, tmp_path / "run", "train.max_steps=2")
    with pytest.raises(UserError, match=r"step_\d+\.pt: the checkpoint does not fit the config's networks"):
        train(tiny_yaml, tmp_path / "run", "generator.base_channels=3", resume=True)


def test_a_damaged_newest_checkpoint_is_told_and_the_one_before_is_used(tiny_yaml, tmp_path):
    run = tmp_path / "run"
    straight = train(tiny_yaml, run)
    newest = run / "checkpoints" / "step_00000006.pt"
    newest.write_bytes(newest.read_bytes()[:1000])
    trainer = build_trainer(read_config(tiny_yaml))
    told = open_run(trainer, run, False)
    assert "step_00000006.pt: damaged" in told and "going on from step 4" in told
    trainer.fit(run)
    for key, value in straight.method.state_dict().items():
        assert torch.equal(value, trainer.method.state_dict()[key])
    for path in (run / "checkpoints").glob("*.pt"):
        path.write_bytes(b"")
    with pytest.raises(UserError, match="damaged"):
        open_run(build_trainer(read_config(tiny_yaml)), run, False)


def test_a_loss_that_is_not_finite_stops_before_the_update(tiny_yaml, tmp_path):
    trainer = build_trainer(read_config(tiny_yaml))
    open_run(trainer, tmp_path / "run", False)
    batch = next(trainer.batches(1))
    trainer.train_step(batch)
    with torch.no_grad():
        trainer.method.patch_head.mlps[0][0].bias[0] = float("nan")
    before = {key: value.clone() for key, value in trainer.method.generator.state_dict().items()}
    with pytest.raises(UserError, match=r"step 2: the loss of the generator is not finite \(nce nan, nce_idt nan\)"):
        trainer.train_step(batch)
    for key, value in trainer.method.generator.state_dict().items():
        assert torch.equal(value, before[key])


def test_a_loss_that_is_not_finite_is_told_with_the_log_where_steps_do_not_look(tiny_yaml, tmp_path):
    trainer = build_trainer(read_config(tiny_yaml, ["train.log_every_steps=3", "train.checkpoint_every_steps=3"]))
    trainer.update_players.checks_each_update = False
    open_run(trainer, tmp_path / "run", False)
    with torch.no_grad():
        trainer.method.patch_head.mlps[0][0].bias[0] = float("nan")
    with pytest.raises(UserError, match="step 3: the loss of the discriminator is not finite"):
        trainer.fit(tmp_path / "run")
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_drawing_samples_does_not_change_the_run(tiny_yaml, tmp_path):
    weights = []
    for every in (1, 100):
        trainer = train(tiny_yaml, tmp_path / f"run{every}", f"train.sample_every_steps={every}")
        weights.append(trainer.method.state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_saves_and_the_next_start_goes_on(tiny_yaml, tmp_path, number, monkeypatch):
    run = tmp_path / "run"
    trainer = build_trainer(read_config(tiny_yaml))
    open_run(trainer, run, False)
    step = trainer.train_step

    def interrupted(batch):
        step(batch)
        if trainer.step == 3:
            signal.raise_signal(number)

    monkeypatch.setattr(trainer, "train_step", interrupted)
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    with pytest.raises(Stopped, match="saved at step 3") as caught:
        trainer.fit(run)
    assert caught.value.signum == number
    assert handlers == [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    again = build_trainer(read_config(tiny_yaml))
    assert "from step 3" in open_run(again, run, False)


def test_the_learning_rate_follows_the_schedule(tiny_yaml):
    schedule = "schedule={name: linear, constant_steps: 1, decay_steps: 3}"
    trainer = build_trainer(read_config(tiny_yaml, [schedule]))
    rates = []
    for batch in trainer.batches(4):
        trainer.train_step(batch)
        rates += {group["lr"] for optimizer in trainer.optimizers.values() for group in optimizer.param_groups}
    assert rates == pytest.approx([2e-4, 1.5e-4, 1e-4, 0.5e-4])


def test_epochs_become_steps_once(tiny_yaml):
    trainer = build_trainer(
        read_config(tiny_yaml, ["schedule={total_steps: null, total_epochs: 5}", "data.batch_size=2"])
    )
    assert trainer.last_step == 10  # 4 pictures, 2 at a time, 5 epochs


def test_a_batch_larger_than_the_data_is_told(tiny_yaml):
    with pytest.raises(UserError, match="data.batch_size: 9 is more than the 4 pictures"):
        build_trainer(read_config(tiny_yaml, ["data.batch_size=9"]))


def test_bf16_trains_with_finite_losses(tiny_yaml, tmp_path):
    train(tiny_yaml, tmp_path / "run", "train.precision=bf16-mixed", "train.max_steps=2")
    assert all(np.isfinite(v) for v in lines(tmp_path / "run")[0].values())


def test_the_moving_average_follows_its_formula_and_leaves_the_run_alone(tiny_yaml, tmp_path):
    plain = train(tiny_yaml, tmp_path / "plain").method.state_dict()
    trainer = build_trainer(read_config(tiny_yaml, ["train.ema_decay=0.5"]))
    open_run(trainer, tmp_path / "ema", False)
    expected = {k: v.clone() for k, v in trainer.method.generator.state_dict().items()}
    step = trainer.train_step

    def followed(batch):
        step(batch)
        decay = min(0.5, (1 + trainer.step) / (10 + trainer.step))
        for key, value in trainer.method.generator.state_dict().items():
            expected[key] = decay * expected[key] + (1 - decay) * value

    trainer.train_step = followed
    trainer.fit(tmp_path / "ema")
    assert all(torch.equal(plain[key], value) for key, value in trainer.method.state_dict().items())
    for file in ("generator.safetensors", "checkpoints/step_00000006.pt"):
        method, _ = load_translator(tmp_path / "ema" / file)
        for key, value in method.generator.state_dict().items():
            torch.testing.assert_close(value, expected[key], rtol=1e-4, atol=1e-7)
            assert not torch.equal(value, trainer.method.generator.state_dict()[key]) or not value.any()


def test_the_moving_average_is_resumed(tiny_yaml, tmp_path):
    ema = "train.ema_decay=0.9"
    straight = train(tiny_yaml, tmp_path / "straight", ema).ema.state_dict()
    train(tiny_yaml, tmp_path / "resumed", ema, "train.max_steps=4")
    resumed = train(tiny_yaml, tmp_path / "resumed", ema, resume=True).ema.state_dict()
    assert all(torch.equal(straight[key], resumed[key]) for key in straight)


@pytest.mark.parametrize("loss", ["vanilla", "nonsaturating", "wgangp", "hinge"])
def test_every_adversarial_loss_trains(tiny_yaml, loss):
    trainer = build_trainer(read_config(tiny_yaml, [f"method.gan_loss={loss}"]))
    trainer.train_step(next(trainer.batches(1)))
    assert ("loss/discriminator/gradient_penalty" in trainer.losses.sums) == (loss == "wgangp")


@pytest.mark.parametrize(
    "overrides",
    [
        ["data.channels_a=1"],
        ["data.channels_b=1"],
        ["data.channels_a=1", "data.channels_b=1", "data.direction=BtoA"],
        ["method.head=none"],
        ["method.negatives=minibatch", "data.batch_size=2", "method.num_patches=5"],
        ["method.nce_layers=[4, 16]"],
        ["method.lambda_nce=0"],
        ["method.lambda_gan=0"],
        ["generator.norm=batch", "discriminator.norm=none", "generator.dropout=0.5"],
        ["discriminator={name: pixel, base_channels: 2}"],
        ["data.preprocess=none"],
        ["data.preprocess=scale_width", "data.load_px=44"],
    ],
)
def test_every_setting_trains(tiny_yaml, tmp_path, overrides):
    trainer = build_trainer(read_config(tiny_yaml, overrides))
    trainer.train_step(next(trainer.batches(1)))
    draw_sheet(trainer.method, None, trainer.samples, trainer.fabric, tmp_path / "sheet.png")
    assert all(torch.isfinite(v) for v in trainer.losses.sums.values())


def test_focal_with_gamma_0_and_alpha_1_is_the_same_run_as_cross_entropy(tiny_yaml, tmp_path):
    runs = [
        train(tiny_yaml, tmp_path / name, f"method.nce_loss={loss}").method.state_dict()
        for name, loss in (("a", "{name: cross_entropy}"), ("b", "{name: focal, gamma: 0, alpha: 1}"))
    ]
    assert all(torch.equal(runs[0][key], runs[1][key]) for key in runs[0])


def test_random_streams_are_restored():
    draw = lambda: (random.random(), np.random.rand(), torch.rand(1).item())  # noqa: E731
    np.random.standard_normal()  # leaves a cached second value behind
    state = random_state()
    first = draw()
    with undisturbed():
        draw()
    second = draw()
    restore_random_state(state)
    assert draw() == first and draw() == second


@pytest.mark.gpu
def test_a_run_on_cuda_resumes(tiny_yaml, tmp_path):
    train(tiny_yaml, tmp_path / "run", "train.accelerator=cuda", "train.precision=16-mixed", "train.max_steps=2")
    trainer = train(tiny_yaml, tmp_path / "run", "train.accelerator=cuda", "train.precision=16-mixed", resume=True)
    assert trainer.step == 6


def test_a_checkpoint_of_the_plain_adam_goes_on_with_the_fused_one(tiny_yaml, tmp_path):
    config = read_config(tiny_yaml)
    plain = build_trainer(config)
    for optimizer in plain.optimizers.values():
        for group in optimizer.param_groups:
            group["fused"] = None  # as torch has it by default
    plain.last_step = 2
    open_run(plain, tmp_path / "run", resume=False)
    plain.fit(tmp_path / "run")
    trainer = build_trainer(config)
    assert "going on from step 2" in open_run(trainer, tmp_path / "run", resume=False)
    trainer.fit(tmp_path / "run")
    assert trainer.step == 6
    assert all(group["fused"] for o in trainer.optimizers.values() for group in o.param_groups)


def test_building_asks_for_the_processes_once(tiny_yaml, monkeypatch):
    """A second time would be waited for in vain by those whose building failed."""
    built = []
    monkeypatch.setattr("cut.build.Processes", lambda fabric: built.append(Processes(fabric)) or built[-1])
    build_trainer(read_config(tiny_yaml))
    assert len(built) == 1


def test_a_broken_picture_is_told_and_that_nothing_could_be_saved(tiny_yaml, tmp_path, monkeypatch):
    trainer = build_trainer(read_config(tiny_yaml, ["data.num_workers=0"]))
    open_run(trainer, tmp_path / "run", False)
    for path in trainer.stream.paths_a:
        path.write_bytes(b"")

    def full(run_dir):
        raise UserError("no space left")

    monkeypatch.setattr(trainer, "save", full)
    with pytest.raises(UserError, match="is empty.*; the run could not be saved: no space left"):
        trainer.fit(tmp_path / "run")
