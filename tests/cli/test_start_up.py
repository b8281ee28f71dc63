"""What the programs do not wait for: imports take longer than all else before the first step."""

import subprocess
import sys

import pytest

# Whoever imports it now gets an ImportError.
WITHOUT_TORCH = "import sys; sys.modules['torch'] = None; from cut.cli.{} import main; main(sys.argv[1:])"


def mistake(program, *arguments):
    """What a program without torch says of a mistake."""
    words = [sys.executable, "-c", WITHOUT_TORCH.format(program), *map(str, arguments)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    return done.stderr


@pytest.mark.parametrize(
    ("override", "line"),
    [
        ("train.max_stepz=3", "train.max_stepz: unknown key; did you mean 'max_steps'?"),
        ("data.crop_px=many", "data.crop_px: input should be a valid integer"),
        ("method.name=cutt", "method.name: no such method 'cutt'; did you mean 'cut'?"),
        ("schedule", "--set schedule: write it as key=value"),
    ],
)
def test_a_mistake_in_a_yaml_is_told_without_torch(tiny_yaml, override, line):
    assert line in mistake("train", "--config", tiny_yaml, "--set", override)


def test_a_mistake_in_a_yaml_to_compare_is_told_without_torch(tiny_yaml, tmp_path):
    arguments = ["--configs", tiny_yaml, "--output", tmp_path / "out", "--set", "optim.lrr=1"]
    assert "optim.lrr: unknown key; did you mean 'lr'?" in mistake("compare", *arguments)


def test_a_mistake_of_cut_serve_is_told_without_torch():
    assert "--port 70000: must be from 0 to 65535" in mistake("serve", "runs/none", "--port", 70000)


def test_what_the_first_step_does_not_need_is_not_imported(tiny_yaml, tmp_path):
    """A whole start of cut-train, which other tests replace by a fork."""
    slow = {"torchvision", "scipy", "skimage", "matplotlib", "tensorboard", "cv2", "jinja2", "pytorch_fid", "lpips"}
    code = f"import atexit, sys; atexit.register(lambda: print(sorted({slow} & sys.modules.keys()))); "
    code += "from cut.cli.train import main; main(sys.argv[1:])"
    words = [sys.executable, "-W", "error", "-c", code, "--config", tiny_yaml, "--dry-run"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    told, imported = done.stdout.splitlines()
    assert "one step works: discriminator/" in told and imported == "[]"
