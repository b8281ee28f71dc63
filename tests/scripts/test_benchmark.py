"""scripts/benchmark.py: what it measures, whom it compares, and what it refuses."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from conftest import REPOSITORY
from programs import forks

from cut.build import build_method, read_config
from cut.errors import UserError

sys.path.insert(0, str(REPOSITORY / "scripts"))

import benchmark
import benchmark_side

# The least that the driver needs of a checkout: a model of that many parameters, which writes its options down.
CHECKOUT = {
    "options/__init__.py": "",
    "options/train_options.py": """
import sys, types
class TrainOptions:
    def parse(self):
        print("options are printed")
        return types.SimpleNamespace(model="cut", words=sys.argv[1:])
""",
    "models/__init__.py": """
import pathlib, torch
class Model:
    model_names = ["G"]
    def __init__(self, options):
        self.netG, self.options = torch.nn.Linear(COUNT, 1, bias=False), options
    def data_dependent_initialize(self, batch):
        self.shape = list(batch["A"].shape)
    def setup(self, options): pass
    def parallelize(self): pass
    def set_input(self, batch): pass
    def optimize_parameters(self):
        pathlib.Path(__file__).with_name("seen.txt").write_text(f"{self.shape} {self.options.words}")
create_model = Model
""",
    "models/cut_model.py": "",
}


def make_checkout(folder, parameters):
    for name, text in CHECKOUT.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("COUNT", str(parameters)))
    return folder


def job(path, *overrides):
    return {
        "config": str(path),
        "overrides": list(overrides),
        "size_px": None,
        "clock": "wall",
        "authors": False,
        "keep_freed_memory": False,
    }


def a_side(name, seconds, ceilings, work=6.0, parameters=5):
    side = SimpleNamespace(name=name, facts={"gflop_per_step": work, "images_per_step": 2, "parameters": parameters})
    side.turns = [
        {"seconds": s, "convolution_gflop_per_second": c, "peak_mib": 7.0}
        for s, c in zip(seconds, ceilings, strict=True)
    ]
    return side


class ForkedSide:
    """What `benchmark.Side` needs of `subprocess.Popen`: the process is a fork, and its convolution small."""

    def __init__(self, command, stdin, stdout, stderr, text, env):
        folder = Path(tempfile.mkdtemp(dir=env["XDG_CACHE_HOME"]))
        pipes = {name: str(folder / name) for name in ("stdin", "stdout")}
        for pipe in pipes.values():
            os.mkfifo(pipe)
        self._child = forks().start(
            Path(command[1]).stem,
            fault={"kind": "small_ceiling"},
            path=env["PYTHONPATH"].split(os.pathsep),
            stderr=f"/proc/{os.getpid()}/fd/{stderr.fileno()}",
            **pipes,
        )
        self.stdout = open(pipes["stdout"])  # noqa: SIM115  closed in `communicate`
        self.stdin = open(pipes["stdin"], "w")  # noqa: SIM115

    def communicate(self):
        self.stdin.close()
        self._child.wait()
        self.stdout.close()


def test_ours_and_a_checkout_are_timed_in_turn(tiny_yaml, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(benchmark, "subprocess", SimpleNamespace(Popen=ForkedSide, PIPE=subprocess.PIPE))
    parameters = sum(p.numel() for p in build_method(read_config(tiny_yaml)).parameters())
    checkout = make_checkout(tmp_path / "authors", parameters)
    arguments = ["--configs", tiny_yaml, "--against", checkout, "--turns", 2, "--warm-up", 1, "--sizes", 40]
    arguments += ["--json", tmp_path / "speed.json", "--markdown", tmp_path / "speed.md"]
    with pytest.raises(SystemExit) as ended:
        benchmark.main([str(word) for word in arguments])
    said = capsys.readouterr()
    assert not ended.value.code, said.err
    (result,) = json.loads((tmp_path / "speed.json").read_text())
    ours, theirs = result["sides"]
    assert (result["image_px"], result["parameters"]) == (40, parameters)
    assert ours["speed_up"] == [1.0, 1.0, 1.0] and theirs["speed_up"][0] < 1.0  # theirs does nothing here
    assert ours["gflop_per_step"] > 0.0 and theirs["gflop_per_step"] == 0.0
    assert ours["seconds_per_step"][0] * ours["images_per_second"][0] == pytest.approx(1.0, rel=0.5)
    assert 0.0 < ours["share_of_ceiling"][0] < 1.0
    assert (tmp_path / "speed.md").read_text().strip() in said.out and "| ours | " in said.out
    shape, words = (checkout / "models" / "seen.txt").read_text().split("] [")
    assert shape == "[1, 3, 40, 40" and "'--ngf', '2'" in words and "'--netG', 'resnet_4blocks'" in words


@pytest.mark.parametrize("is_on", [True, False])
def test_the_switches_of_a_config_are_those_of_its_side(is_on, tiny_yaml, monkeypatch, switches):
    from torch._inductor import config as inductor

    compiled = []
    monkeypatch.setattr("cut.runtime.numerics.compile_networks", compiled.append)
    overrides = [f"train.tf32={is_on}", f"train.compile={is_on}", "train.accelerator=cpu"]
    kinds = {"channels_last": is_on, "cuda_graphs": is_on}
    with inductor.patch({"triton.cudagraphs": False}):
        step, count_parameters, *_ = benchmark_side._own_step(job(tiny_yaml, *overrides) | kinds)
        assert inductor.triton.cudagraphs is is_on
    assert torch.backends.cudnn.allow_tf32 is torch.backends.cuda.matmul.allow_tf32 is is_on
    assert len(compiled) == is_on
    step()
    assert count_parameters() > 0


def test_a_failure_of_a_side_is_one_line(tiny_yaml, tmp_path):
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / "__init__.py").write_text("import nowhere_to_be_found\n")
    with pytest.raises(UserError, match="baseline old: ModuleNotFoundError.*nowhere_to_be_found"):
        benchmark.Side("baseline old", job(tiny_yaml), [tmp_path])


def test_figures_are_medians_over_turns_beside_our_turns():
    ours = a_side("ours", [[2.0], [1.0], [4.0]], [6.0, 6.0, 6.0])
    theirs = a_side("theirs", [[4.0], [3.0, 5.0, 3.0], [4.0]], [3.0, 4.0, 1.5], work=12.0)
    figures = benchmark.Side.figures(theirs, ours)
    assert figures["seconds_per_step"] == [4.0, 3.0, 4.0]
    assert figures["speed_up"] == [2.0, 1.0, 3.0]
    assert figures["images_per_second"] == [0.5, 0.5, 2 / 3]
    assert figures["gflop_per_second"] == [3.0, 3.0, 4.0]
    assert figures["share_of_ceiling"] == [1.0, 1.0, 2.0]


def test_other_networks_are_not_compared(tiny_yaml, tmp_path, monkeypatch):
    class Stub:
        def __init__(self, name, job, path):
            self.name, self.facts = name, {"parameters": 1 if job["authors"] else 2}

        def close(self):
            pass

    monkeypatch.setattr(benchmark, "Side", Stub)
    args = benchmark._parse(["--against", str(make_checkout(tmp_path / "authors", 1))])
    with pytest.raises(UserError, match="authors, 32-true has 1 parameters, ours 2: not the same networks"):
        benchmark.Case(str(tiny_yaml), None, "32-true").measure(args)


@pytest.mark.parametrize(
    "name, expected",
    {
        "cut": {"model": "cut", "netG": "resnet_9blocks", "nce_idt": "True", "lambda_NCE": "1.0", "pool_size": "0"},
        "fastcut": {"model": "cut", "nce_idt": "False", "lambda_NCE": "10.0", "flip_equivariance": "True"},
        "cyclegan": {"model": "cycle_gan", "lambda_identity": "0.5", "pool_size": "50", "init_type": "normal"},
    }.items(),
)
def test_the_authors_options_say_what_the_config_says(name, expected):
    words = benchmark_side._authors_options(read_config(REPOSITORY / f"configs/horse2zebra_{name}.yaml"))
    given = {word.removeprefix("--"): words[i + 1] for i, word in enumerate(words[:-1]) if word.startswith("--")}
    assert given.items() >= expected.items()
    assert ("--no_antialias" in words, "--no_antialias_up" in words) == (name == "cyclegan",) * 2


def test_methods_that_the_authors_have_not_are_refused():
    with pytest.raises(UserError, match="timed for cut and cyclegan with ResNets, not pix2pix"):
        benchmark_side._authors_options(read_config(REPOSITORY / "configs/facades_pix2pix.yaml"))


def test_every_kind_of_data_gives_a_step(tiny_dcgan_yaml):
    answers = benchmark_side._answers(job(tiny_dcgan_yaml), iter([{"steps": 2}]))
    facts, turn = list(answers)
    assert facts["images_per_step"] == 2 and facts["gflop_per_step"] > 0.0
    assert len(turn["seconds"]) == 2 and min(turn["seconds"]) > 0.0 and turn["convolution_gflop_per_second"] > 0.0


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--against", "nowhere"], "nowhere: no such checkout, for it has no models/cut_model.py"),
        (["--baseline", "nowhere"], "nowhere: no such checkout, for it has no cut/build.py"),
    ],
)
def test_a_mistake_is_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as left:
        benchmark.main(arguments)
    assert left.value.code == 2 and capsys.readouterr().err == f"benchmark: error: {message}\n"


def test_processor_time_needs_one_thread(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    with pytest.raises(UserError, match="OMP_NUM_THREADS=1"):
        benchmark._main(benchmark._parse(["--clock", "process"]))
