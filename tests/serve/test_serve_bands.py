"""Models whose pictures a page cannot show, and training at rectangles."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
from served import tiny_runs

from cut.config.bands import Bands
from cut.errors import UserError
from cut.serve.models import Models


@pytest.fixture
def models():
    own = Models([tiny_runs() / "cut"])
    own.model("cut")
    return own


def with_data(models, **data):
    """The loaded model, as if its config had these data."""
    version, model = models._loaded["cut"]
    model.config = SimpleNamespace(method=model.config.method, data=SimpleNamespace(**data))
    models._loaded["cut"] = (version, model)


@pytest.mark.parametrize("bands", [Bands(6), replace(Bands(3), limits=(0.0, 4000.0))])
def test_bands_and_ranges_are_refused(models, bands):
    with_data(models, bands={"a": Bands(3), "b": bands})
    with pytest.raises(UserError, match="translates bands or numbers, which a page cannot show; use cut-test"):
        models.describe("cut")


def test_a_rectangle_is_no_scale_to_choose(models, monkeypatch):
    with_data(models, bands={"a": Bands(3), "b": Bands(3)}, load_px=(64, 96), direction="AtoB", domains=("A", "B"))
    assert models.describe("cut")["trained_at_px"] is None
