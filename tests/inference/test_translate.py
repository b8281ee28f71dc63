import numpy as np
import pytest
import torch
from fixed import fill_by_formula
from lightning_fabric import Fabric
from PIL import Image
from torch import nn

from cut.data.images import list_images, read_image, write_image
from cut.errors import UserError
from cut.inference import forward
from cut.inference import translate as module
from cut.inference.output_folder import OutputFolder
from cut.inference.tiling import memory_check as memory
from cut.inference.translate import plan_jobs, translate
from cut.methods.base import Method
from cut.models.resnet import ResnetGenerator

SIZES = [(1, 1), (1, 7), (7, 1), (5, 3), (33, 57), (32, 32)]  # (width, height)


class _Identity(nn.Module):
    """Needs what the generators need, notes what it was given, and gives it back, or its negative."""

    stride, min_size_px = 4, 8

    def __init__(self, sign=1.0):
        super().__init__()
        self.sign, self.shapes = sign, []

    def forward(self, image):
        self.shapes.append(tuple(image.shape))
        assert min(image.shape[2:]) >= self.min_size_px and not any(side % self.stride for side in image.shape[2:])
        return image * self.sign


class _Stub(Method):
    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, image):
        return self.network(image)

    def inference_networks(self):
        return {"network": self.network}


@pytest.fixture
def folders(tmp_path):
    """The input and the output folder; the latter does not exist."""
    (tmp_path / "in").mkdir()
    return tmp_path / "in", tmp_path / "out"


def _noise(width, height, channels=3, dtype=np.uint8):
    rng = np.random.default_rng([width, height])
    return rng.integers(0, np.iinfo(dtype).max + 1, (height, width, channels), dtype=dtype)


def _run(
    source, output, network=None, channels=3, batch_size=4, target=None, suffix=None, precision="32-true", **options
):
    fabric = Fabric(accelerator="cpu", devices=1, precision=precision)
    jobs = plan_jobs(source, output, suffix)
    method = _Stub(network or _Identity()).eval()
    return translate(method, jobs, channels, fabric, batch_size, _checked(jobs, output), target, **options)


def _checked(jobs, output):
    folder = OutputFolder(output)
    folder.check([job.output for job in jobs], [job.source for job in jobs])
    return folder


def _names(folder):
    return [path.relative_to(folder).as_posix() for path in list_images(folder)]


def _sheet_size(output):
    with Image.open(output.with_name("out_sheet.png")) as sheet:
        return sheet.size


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_every_picture_is_translated_under_its_name_and_at_its_size(folders, batch_size, sign):
    source, output = folders
    for number, (width, height) in enumerate(SIZES * 2):
        write_image(source / f"{'0/1/' * (2 - number % 3)}{number}.x.png", _noise(width, height))
    line = _run(source, output, _Identity(sign), batch_size=batch_size)
    assert _names(output) == _names(source) and len(_names(source)) == 12
    for path in list_images(source):
        before, after = read_image(path, 3), read_image(output / path.relative_to(source), 3)
        assert after.dtype == np.uint8 and (after == (before if sign == 1 else 255 - before)).all()
    assert line == f"12 pictures translated into {output}; to look at: {output.with_name('out_sheet.png')}"


def test_one_file_is_translated_too(folders):
    source, output = folders
    write_image(source / "x.bmp", _noise(9, 5))
    write_image(source / "y.bmp", _noise(9, 5))
    _run(source / "x.bmp", output)
    assert _names(output) == ["x.bmp"] and (read_image(output / "x.bmp", 3) == _noise(9, 5)).all()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".ppm"])
def test_16_bit_stays_16_bit_to_the_last_step(folders, suffix, channels):
    source, output = folders
    picture = _noise(33, 57, channels, np.uint16)
    write_image(source / f"x{suffix}", picture)
    write_image(source / f"y{suffix}", _noise(33, 57, channels))  # goes through in the same batch
    _run(source, output, channels=channels)
    after = read_image(output / f"x{suffix}", channels)
    assert after.dtype == np.uint16 and (after == picture).all()
    assert read_image(output / f"y{suffix}", channels).dtype == np.uint8


def test_gray_domain_reads_and_writes_gray(folders):
    source, output = folders
    write_image(source / "colour.png", _noise(9, 8))
    write_image(source / "gray.png", _noise(9, 8, 1))
    network = _Identity()
    _run(source, output, network, channels=1)
    assert network.shapes == [(2, 1, 8, 12)]
    assert (read_image(output / "gray.png", 1) == _noise(9, 8, 1)).all()
    assert (read_image(output / "colour.png", 1) == read_image(source / "colour.png", 1)).all()
    with Image.open(output / "colour.png") as picture:
        assert picture.mode == "L"


def test_gray_source_can_become_colour(folders):
    class Red(_Identity):
        def forward(self, image):
            return torch.cat([image, -torch.ones_like(image), -torch.ones_like(image)], dim=1)

    source, output = folders
    write_image(source / "x.png", _noise(9, 8, 1))
    _run(source, output, Red(), channels=1)
    after = read_image(output / "x.png", 3)
    assert (after[..., :1] == _noise(9, 8, 1)).all() and not after[..., 1:].any()


def test_turned_picture_comes_out_upright(folders):
    source, output = folders
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(_noise(9, 5)).save(source / "x.png", exif=exif)
    _run(source, output)
    with Image.open(output / "x.png") as picture:
        assert picture.size == (5, 9) and not picture.getexif().get(0x0112)
    assert (read_image(output / "x.png", 3) == read_image(source / "x.png", 3)).all()


def test_batch_size_changes_only_how_many_go_through_together(folders):
    source, output = folders
    for number, size in enumerate([(9, 8)] * 5 + [(8, 9)] * 2 + [(9, 8)]):
        write_image(source / f"{number}.png", _noise(*size) // (number + 1))
    shapes, pictures = {}, {}
    for batch_size in (1, 3, 100):
        network = _Identity(-1)
        _run(source, output / str(batch_size), network, batch_size=batch_size)
        shapes[batch_size] = [shape[0] for shape in network.shapes]
        pictures[batch_size] = [read_image(path, 3) for path in list_images(output / str(batch_size))]
    assert shapes == {1: [1] * 8, 3: [3, 2, 2, 1], 100: [5, 2, 1]}
    for others in (pictures[3], pictures[100]):
        assert all((one == other).all() for one, other in zip(pictures[1], others, strict=True))


def test_picture_that_needs_no_border_gets_none(folders):
    source, output = folders
    write_image(source / "x.png", _noise(16, 12))
    network = _Identity()
    _run(source, output, network)
    assert network.shapes == [(1, 3, 12, 16)]


def test_network_without_needs_gets_the_picture_as_it_is(folders):
    class Plain(nn.Module):
        def forward(self, image):
            assert image.shape[2:] == (3, 5)
            return image

    source, output = folders
    write_image(source / "x.png", _noise(5, 3))
    _run(source, output, Plain())
    assert (read_image(output / "x.png", 3) == _noise(5, 3)).all()


def test_border_mirrors_the_picture(folders):
    class Corner(_Identity):
        def forward(self, image):
            self.image = image
            return image

    source, output = folders
    write_image(source / "x.png", _noise(5, 8))
    network = Corner()
    _run(source, output, network)
    image = network.image[0]  # 5 wide, so 1 more on the left and 2 on the right
    assert torch.equal(image[:, :, 0], image[:, :, 1]) and torch.equal(image[:, :, 6:], image[:, :, [5, 4]])


def test_half_precision_writes_pictures_too(folders):
    class Mixing(_Identity):
        def __init__(self):
            super().__init__()
            self.mix = nn.Conv2d(3, 3, 1)

        def forward(self, image):
            mixed = self.mix(super().forward(image))
            assert mixed.dtype == torch.bfloat16
            return mixed

    source, output = folders
    write_image(source / "x.png", _noise(9, 5))
    _run(source, output, Mixing(), precision="bf16-mixed")
    assert read_image(output / "x.png", 3).shape == (5, 9, 3)


def test_format_is_chosen_for_all(folders):
    source, output = folders
    for name in ("a.b.jpg", "sub/c.bmp"):
        write_image(source / name, _noise(9, 5))
    _run(source, output, suffix=".png")
    assert _names(output) == ["a.b.png", "sub/c.png"]
    with Image.open(output / "sub/c.png") as picture:
        assert picture.format == "PNG"


def test_format_that_makes_two_names_one_is_refused(folders):
    source, output = folders
    for name in ("x.jpg", "x.png"):
        write_image(source / name, _noise(9, 5))
    with pytest.raises(UserError, match=r"x\.jpg and .*x\.png would both become .*out/x\.webp; leave --format out"):
        plan_jobs(source, output, ".webp")
    assert len(plan_jobs(source, output)) == 2


def test_unknown_format_is_refused(folders):
    write_image(folders[0] / "x.png", _noise(9, 5))
    with pytest.raises(UserError, match=r"--format gif: not a known picture format \(known: jpg, "):
        plan_jobs(*folders, ".gif")


def test_file_of_unknown_suffix_needs_a_format(folders):
    source, output = folders
    Image.fromarray(_noise(9, 5)).save(source / "x.dat", "png")
    with pytest.raises(UserError, match=r"x\.dat: .*--format png"):
        plan_jobs(source / "x.dat", output)
    _run(source / "x.dat", output, suffix=".png")
    assert read_image(output / "x.png", 3).shape == (5, 9, 3)


def test_a_format_that_is_only_read_becomes_png(folders):
    source, output = folders
    Image.fromarray(_noise(9, 5)).save(source / "x.gif")
    Image.fromarray(_noise(9, 5)).save(source / "y.jfif", "jpeg")
    (source / "y.gif").write_bytes((source / "x.gif").read_bytes())
    (source / "z.gif").symlink_to("z.gif")  # a circle ends nothing here; reading it says what is wrong
    names = [job.output.name for job in plan_jobs(source, output)]
    assert names == ["x.png", "y.png", "y.jfif", "z.png"]
    _run(source / "x.gif", output)
    assert (read_image(output / "x.png", 3) == read_image(source / "x.gif", 3)).all()


def test_input_folder_as_output_is_refused(folders):
    source = folders[0]
    write_image(source / "sub/x.png", _noise(9, 5))
    for same in (source, source / "sub" / ".."):
        with pytest.raises(UserError, match="lies in the input folder.*--output"):
            plan_jobs(source, same)
    with pytest.raises(UserError, match=r"sub/x\.png: would be overwritten"):
        _run(source / "sub/x.png", source / "sub")


def test_output_that_would_overwrite_another_input_is_refused(folders):
    source = folders[0]
    for name in ("x.png", "sub/x.png"):
        write_image(source / name, _noise(9, 5))
    with pytest.raises(UserError, match="sub: lies in the input folder"):
        plan_jobs(source, source / "sub")


def test_output_that_is_a_file_and_missing_or_empty_input_are_refused(folders):
    source, output = folders
    with pytest.raises(UserError, match="in: holds no picture"):
        plan_jobs(source, output)
    write_image(source / "x.png", _noise(9, 5))
    output.write_text("")
    with pytest.raises(UserError, match="out: is a file; --output"):
        _run(source, output)
    with pytest.raises(UserError, match="none: no such file or folder"):
        plan_jobs(source / "none", output)


@pytest.mark.parametrize("batch_size", [1, 4])
def test_broken_picture_is_named_and_the_others_are_translated(folders, batch_size):
    source, output = folders
    for number in range(5):
        write_image(source / f"{number}.png", _noise(9, 5))
    (source / "2.png").write_bytes(b"no picture")
    with pytest.raises(UserError) as caught:
        _run(source, output, batch_size=batch_size)
    text = str(caught.value)
    assert text.startswith(f"1 of 5 pictures were left out: {source / '2.png'}: cannot be read") and "\n" not in text
    assert _names(output) == ["0.png", "1.png", "3.png", "4.png"]
    assert output.with_name("out_sheet.png").is_file()


def test_nothing_is_written_where_every_picture_is_broken(folders):
    source, output = folders
    (source / "x.png").write_bytes(b"no picture")
    with pytest.raises(UserError, match="1 of 1 pictures were left out"):
        _run(source, output)
    assert not output.exists() and not output.with_name("out_sheet.png").exists()


def test_output_that_cannot_be_written_is_one_line(folders):
    source, output = folders
    write_image(source / "sub/x.png", _noise(9, 5))
    output.mkdir()
    (output / "sub").touch()
    with pytest.raises(UserError, match=r"sub/x\.png: cannot be written"):
        _run(source, output)


def test_sheet_shows_input_and_translation_side_by_side(folders):
    source, output = folders
    write_image(source / "x.png", np.full((20, 100, 3), 200, np.uint8))
    _run(source, output, _Identity(-1))
    sheet = read_image(output.with_name("out_sheet.png"), 3)
    row = sheet[:, :, 0].T.tolist()
    assert sum(column.count(200) >= 20 for column in row) == sum(column.count(55) >= 20 for column in row) == 100


def test_sheet_has_a_column_of_targets_of_the_same_name(folders, tmp_path):
    source, output = folders
    for name in ("1.0.png", "sub/1.5.png", "2.png"):
        write_image(source / name, np.full((20, 100, 3), 100, np.uint8))
    _run(source, output)
    narrow = _sheet_size(output)
    write_image(tmp_path / "target/sub/1.5.JPG", np.full((20, 100, 3), 30, np.uint8))
    write_image(tmp_path / "target/2.tif", np.full((20, 100, 1), 30, np.uint8))
    write_image(tmp_path / "target/1.1.png", np.full((20, 100, 3), 30, np.uint8))  # nobody's
    _run(source, output, target=tmp_path / "target")
    wide = _sheet_size(output)
    assert wide[1] == narrow[1] and wide[0] - narrow[0] == (narrow[0] - 6) // 2
    shown = read_image(output.with_name("out_sheet.png"), 1)
    assert abs(int((abs(shown.astype(int) - 30) <= 3).sum()) - 2 * 20 * 100) < 100  # two of three have a target


def test_missing_or_empty_target_folder_is_refused_before_the_work(folders, tmp_path):
    source, output = folders
    write_image(source / "x.png", _noise(9, 5))
    (tmp_path / "empty").mkdir()
    for name, reason in (("none", "no such folder"), ("empty", "holds no picture")):
        with pytest.raises(UserError, match=f"{name}: {reason}"):
            _run(source, output, target=tmp_path / name)
    assert not output.exists()


def test_broken_target_does_not_stop_the_translation(folders, tmp_path):
    source, output = folders
    write_image(source / "x.png", _noise(9, 5))
    (tmp_path / "target").mkdir()
    (tmp_path / "target/x.png").write_text("no picture")
    _run(source, output, target=tmp_path / "target")
    assert _names(output) == ["x.png"] and output.with_name("out_sheet.png").is_file()


def test_sheet_stays_small(folders, monkeypatch):
    source, output = folders
    for number in range(7):
        write_image(source / f"{number}.png", _noise(9, 5))
    write_image(source / "8.png", _noise(300, 10, dtype=np.uint16))
    monkeypatch.setattr(module, "SHEET_ROWS", 3)
    monkeypatch.setattr(module, "SHEET_PX", 64)
    _run(source, output)
    width, height = _sheet_size(output)
    assert width == 6 + 2 * (64 + 6) and height < 130
    assert len(_names(output)) == 8


@pytest.mark.parametrize("size", SIZES[:3])
def test_sheet_of_the_smallest_pictures_is_drawn(folders, size):
    source, output = folders
    write_image(source / "a_rather_long_name_for_so_small_a_picture.png", _noise(*size))
    _run(source, output)
    assert min(_sheet_size(output)) > 10


@pytest.mark.parametrize("batch_size", [1, 4])
def test_tiles_change_no_file(folders, batch_size):
    source, output = folders
    network = fill_by_formula(ResnetGenerator(base_channels=2, num_blocks=1))
    for number, size in enumerate([(50, 70), (50, 70), (20, 30), (33, 90)]):
        write_image(source / f"{number}.png", _noise(*size))
    _run(source, output / "whole", network)
    _run(source, output / "tiled", network, batch_size=batch_size, tile_px=32)
    for path in list_images(output / "whole"):
        whole, tiled = read_image(path, 3).astype(int), read_image(output / "tiled" / path.name, 3)
        assert np.abs(whole - tiled).max() <= 1 and (whole != tiled).mean() < 0.01  # where rounding was in doubt
    assert _names(output / "tiled") == ["0.png", "1.png", "2.png", "3.png"]


def test_only_pictures_larger_than_a_tile_are_cut(folders, monkeypatch):
    source, output, cut = *folders, []

    def note(network, picture, tile_px, device, folder, name, progress):
        cut.append((name, picture.shape, tile_px, folder))
        return picture

    monkeypatch.setattr(forward, "translate_in_tiles", note)
    for name, size in (("a", (32, 32)), ("b", (31, 30)), ("c", (5, 33))):
        write_image(source / f"{name}.png", _noise(*size))
    network = _Identity()
    _run(source, output, network, tile_px=32)
    assert cut == [("c.png", (36, 8, 3), 32, output)] and len(network.shapes) == 2
    assert (read_image(output / "c.png", 3) == _noise(5, 33)).all()


def test_picture_too_large_for_memory_is_refused_and_the_former_are_written(folders, monkeypatch):
    monkeypatch.setattr(memory, "_SMALL_PIXELS", 3000)
    monkeypatch.setattr(memory, "available_bytes", lambda device: 10**5)
    source, output = folders
    write_image(source / "a.png", _noise(40, 40))
    write_image(source / "b.png", _noise(70, 70))
    with pytest.raises(UserError, match=r"b\.png: 72x72 px need at least .* --tile-px 1024"):
        _run(source, output, ResnetGenerator(base_channels=4, num_blocks=1))
    assert _names(output) == ["a.png"]
    _run(source, output, ResnetGenerator(base_channels=4, num_blocks=1), tile_px=64)
    assert _names(output) == ["a.png", "b.png"]


@pytest.mark.parametrize("tile_px", [None, 32])
def test_numbers_that_are_not_finite_become_no_picture(folders, tile_px):
    source, output = folders
    write_image(source / "x.png", _noise(40, 40))
    network = ResnetGenerator(3, 3, base_channels=2, num_blocks=1)
    network.layers[-2].bias.data[:] = float("nan")
    with pytest.raises(
        UserError, match=r"x\.png: the network gives numbers that are not finite; take --precision 32-true"
    ):
        _run(source, output, network, tile_px=tile_px)
    assert not output.exists() or not list(output.iterdir())
