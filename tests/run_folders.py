"""Small run directories, as cut-train leaves them."""

import json
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

CONFIG = {"seed": 0, "method": {"name": "cut", "nce_layers": [0, 4]}, "data": {"root": "photos"}, "optim": {"lr": 2e-4}}


def make_run(folder: Path, num_steps=100, lr=2e-4, pictures=("x.png", "y.png"), num_sheets=3, side=40) -> Path:
    """A run that logged every tenth step, with scores, sheets, test pictures and an environment."""
    (folder / "samples").mkdir(parents=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(CONFIG | {"optim": {"lr": lr}}, sort_keys=False))
    lines = []
    for step in range(10, num_steps + 1, 10):
        losses = {"loss/generator/gan": 1 + 1 / step, "loss/generator/nce": 1e3 * lr / step}
        costs = {"time/seconds_per_step": 0.5, "time/images_per_second": 2.0, "memory/peak_mib": 1024.0}
        line = {"step": step, "time": 1_700_000_000 + step, "epoch": step // 20, "lr": lr, **losses, **costs}
        lines += [line | {"health/output_std": 0.4}]
        lines += [{"step": step, "time": 1_700_000_000 + step, "eval/ema/fid": abs(step - 70) + lr * 1e5}]
    write_lines(folder, *lines)
    for index in range(num_sheets):
        write_picture(
            folder / "samples" / f"step_{(index + 1) * num_steps // num_sheets:08d}.png", side, 3 * side, index
        )
    entries = []
    for index, name in enumerate(pictures):
        for role in ("input", "translation", "target"):
            write_picture(folder / "evaluation" / f"{role}_{index}.png", side, side, index)
        entries.append(
            {"name": name, "input": str((folder / f"evaluation/input_{index}.png").resolve())}
            | {role: f"evaluation/{role}_{index}.png" for role in ("translation", "target")}
        )
    best = {"step": 70, "metric": "fid", "value": lr * 1e5, "higher_is_better": False}
    evaluation = {"step": num_steps, "generator": "ema", "metrics": {"fid": 30.0}, "best": best, "pictures": entries}
    (folder / "evaluation.json").write_text(json.dumps(evaluation))
    environment = {"versions": {"python": "3.11", "torch": "2.6"}, "command": ["cut-train", "--config", "x.yaml"]}
    (folder / "environment.json").write_text(json.dumps(environment))
    return folder


def write_lines(folder: Path, *lines) -> None:
    """A metrics.jsonl of these entries; a text is a line as it stands."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    (folder / "metrics.jsonl").write_text("".join(f"{text}\n" for text in texts))


def write_picture(path: Path, height: int, width: int, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def make_comparison(folder: Path, rows=("cut", "gatys"), seeds=1, failed=()) -> Path:
    """A comparison of a trained method and of others that are not, as cut-compare leaves it.

    Args:
        folder: Folder to make.
        rows: Names of the methods; the first has runs.
        seeds: Runs of each.
        failed: Pairs of name and seed of runs that failed.
    """
    for name in ("inputs/x.png", "targets/x.png"):
        write_picture(folder / "pictures" / name, 40, 40)
    write_picture(folder / "sheet.png", 40, 200)
    entries = ["method,seed,ssim[input],steps,seconds_per_picture,error"]
    for name in rows:
        for seed in range(seeds):
            run = folder / name / f"seed_{seed}"
            is_trained, error = name == rows[0], "out of memory" if (name, seed) in failed else ""
            entries += [f"{name},{seed},{'' if error else 0.5},{100 if is_trained else ''},2.5,{error}"]
            if error:
                continue
            if is_trained:
                make_run(run, pictures=())
            write_picture(folder / name / f"seed_{seed}_pictures" / "x.png", 40, 40, seed)
            config = {"method": {"name": name}, "data": {"name": "single", "a": "x.jpg", "b": "y.jpg"}}
            run.with_name(f"{run.name}.json").write_text(json.dumps({"config": config, "generated": {}}))
            test = {"seconds_per_picture": 2.5, "peak_mib": 2048.0, "pictures": 1, "remark": "random VGG"}
            run.with_name(f"{run.name}_test.json").write_text(json.dumps(test))
    (folder / "table.csv").write_text("\n".join([*entries, '"input, untranslated",,1.0,,,', ""]))
    table = [f"| {name} (random \\| VGG) | {seeds} | **0.500** ± 0.010 |" for name in rows]
    header = ["| method | seeds | ssim[input] ↑ |", "|---|---:|---:|"]
    (folder / "table.md").write_text(
        "\n".join([*header, *table, "| input, untranslated | | 1.000 |", "", "One style.\n"])
    )
    (folder / "input.json").write_text(json.dumps({"generated": {"folder": "photos"}, "target": {"folder": "maps"}}))
    return folder
