"""Query-selected attention against the authors' numbers (tests/golden/README.md), its ties and its memory."""

import torch
from fixed import formula_image

from cut.models import attention
from cut.models.attention import attention_entropies, attention_rows
from cut.models.patch_head import gather_patches
from cut.models.resnet import ResnetGenerator

EXACT = {"rtol": 1e-9, "atol": 1e-12}


def test_rows_and_patches_equal_the_authors(golden):
    g = golden("qsattn_global")
    source, target = g["source"].clone().requires_grad_(), g["target"].clone().requires_grad_()
    rows = attention_rows(source, int(g["num_patches"]))
    torch.testing.assert_close(rows, g["attention"], **EXACT)

    def unit(patches):
        return torch.nn.functional.normalize(patches.flatten(0, 1), dim=1)

    query = unit(gather_patches(target, rows))
    torch.testing.assert_close(unit(gather_patches(source, rows)), g["key"], rtol=1e-6, atol=1e-6)  # their 1e-7
    torch.testing.assert_close(query, g["query"], rtol=1e-6, atol=1e-6)
    gradients = torch.autograd.grad((query * g["probe"]).sum(), (source, target))
    torch.testing.assert_close(gradients[0], g["grad_source_through_attention"], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradients[1], g["grad_target"], rtol=1e-6, atol=1e-6)


def test_equal_entropies_are_ordered_at_random():
    """Where all rows say the same, no part of the map may be preferred, and another seed chooses others."""
    feature = 100.0 * torch.eye(64).view(1, 64, 8, 8)  # every place resembles itself alone
    chosen = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        chosen.append(attention_rows(feature, 16).argmax(2).flatten())
    assert torch.equal(chosen[0], chosen[1]) and not torch.equal(chosen[0], chosen[2])
    assert len(chosen[0].unique()) == 16 and int(chosen[0].max()) > 40


def test_a_fresh_network_has_ties_and_its_choice_is_not_the_top_of_the_map():
    torch.manual_seed(0)
    generator = ResnetGenerator(base_channels=8, num_blocks=4)
    (feature,) = generator.encode(formula_image(1, 3, 64), [14])
    feature = (10 * feature).detach()  # sizes that a generator of full width has
    entropies = attention_entropies(feature.flatten(2).transpose(1, 2))
    assert int((entropies == 0).sum()) > 64
    places = attention_rows(feature, 32).argmax(2)
    assert float(places.float().mean() / 256) > 0.3


def test_entropies_in_parts_are_those_of_the_whole(monkeypatch):
    features = torch.randn(2, 30, 4)
    whole = attention_entropies(features)
    expected = torch.distributions.Categorical(logits=features @ features.transpose(1, 2)).entropy()
    torch.testing.assert_close(whole, expected)
    monkeypatch.setattr(attention, "_MOST_ENTRIES", 2 * 30 * 7)
    torch.testing.assert_close(attention_entropies(features), whole)
