"""The YAMLs that come with the package, by name: `horse2zebra_cut`, `methods/cut`."""

from pathlib import Path, PurePosixPath

from cut.errors import did_you_mean

_PACKAGE = Path(__file__).resolve().parent.parent


def config_folder() -> Path:
    """`configs` in an installed package, else beside the package, in a clone."""
    inside = _PACKAGE / "configs"
    return inside if inside.is_dir() else _PACKAGE.parent / "configs"


def find_config(path: str | Path) -> Path:
    """The YAML that a user names: a file, or one of the package, with or without `configs/` and `.yaml`."""
    given = Path(path)
    if given.is_file():
        return given
    parts = given.parts[1:] if given.parts[:1] == ("configs",) else given.parts
    if not parts or given.is_absolute() or ".." in parts:
        return given
    found = config_folder().joinpath(*parts)
    found = found if found.suffix == ".yaml" else found.with_name(f"{found.name}.yaml")
    return found if found.is_file() else given


def list_configs() -> dict[str, str]:
    """What each YAML of the package is, by name: the first line of its comment."""
    folder = config_folder()
    return {
        path.relative_to(folder).with_suffix("").as_posix(): _first_comment(path)
        for path in sorted(folder.rglob("*.yaml"), key=lambda path: (path.parent != folder, path))
    }


def hint(path: str | Path) -> str:
    """What to do where there is no such YAML."""
    name = PurePosixPath(Path(path).as_posix()).with_suffix("").name
    return f"{did_you_mean(name, list_configs())} (cut-train --list-configs names those that come with the package)"


def _first_comment(path: Path) -> str:
    line = path.read_text(encoding="utf-8").partition("\n")[0]
    return line.removeprefix("#").partition("   ")[0].strip() if line.startswith("#") else ""
