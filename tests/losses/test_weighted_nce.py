"""MoNCE, hDCE and SRC against the authors' numbers (tests/golden/README.md) and against closed forms."""

import pytest
import torch
import torch.nn.functional as F

from cut.losses.patchnce import patchnce_loss
from cut.losses.relation import relation_loss
from cut.losses.weighted_nce import hardness, hdce_loss, monce_loss, transport_plan

EXACT = {"rtol": 1e-9, "atol": 1e-12}
OFF_DIAGONAL = ~torch.eye(20, dtype=torch.bool)


@pytest.mark.parametrize("case", range(5))
@pytest.mark.parametrize("detached", [False, True])
def test_monce_equals_the_authors(case, detached, golden):
    g = golden("monce_loss")
    expected = {name: values[case] for name, values in g["cases"].items()}
    query, places = g["query"].clone().requires_grad_(), g["query"].shape[1]
    loss = monce_loss(
        query,
        g["key"],
        g["temperature"],
        hard=expected["hard"],
        epsilon=expected["eps"],
        # Their weights sum to `num_patches` - 1, ours to the number of other places.
        negative_weight=expected["negative_weight"] * (expected["num_patches"] - 1) / (places - 1),
        detach_weights=detached,
    )
    loss.mean().backward()
    torch.testing.assert_close(loss, expected["loss"].flatten(), **EXACT)
    torch.testing.assert_close(query.grad, expected["grad_query_detached" if detached else "grad_query"], **EXACT)


@pytest.mark.parametrize("case", range(5))
def test_hdce_and_src_equal_the_authors(case, golden):
    """They log the cross-entropy, of which only the gradient is that of the loss."""
    g = golden("hdce_src_loss")
    expected = {name: values[case] for name, values in g["cases"].items()}
    gamma, end, epoch = expected["gamma"], expected["gamma_min"], expected["epoch"]
    if expected["curriculum"]:
        gamma = 1.0 if expected["stepped"] else gamma + (end - gamma) * epoch / 400
    torch.testing.assert_close(hardness(g["key"], gamma)[:, OFF_DIAGONAL], expected["weight"][:, OFF_DIAGONAL], **EXACT)
    query = g["query"].clone().requires_grad_()
    for name, softness in (("hdce", gamma), ("dce", None)):
        loss = hdce_loss(query, g["key"], g["temperature"], gamma=softness)
        torch.testing.assert_close(F.softplus(loss), expected[name], **EXACT)
        (gradient,) = torch.autograd.grad(loss.mean(), query)
        torch.testing.assert_close(gradient, expected[f"grad_query_{name}"], **EXACT)
    loss = relation_loss(query, g["key"])
    torch.testing.assert_close(loss, g["src"], **EXACT)
    torch.testing.assert_close(torch.autograd.grad(loss, query)[0], g["grad_query_src"], **EXACT)


def unit_vectors(*shape):
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(0)), dim=-1)


def test_plan_is_one_between_columns_and_prefers_what_it_is_asked_for():
    similarities = unit_vectors(1, 6, 4) @ unit_vectors(1, 6, 4).flip(1).transpose(1, 2)
    hard, easy = transport_plan(similarities, True, 0.1), transport_plan(similarities, False, 0.1)
    for plan in (hard, easy):
        torch.testing.assert_close(plan.sum(1), torch.ones(1, 6))
        assert float(plan.diagonal(dim1=1, dim2=2).max()) < 1e-20
    assert float((hard * similarities).sum()) > float((easy * similarities).sum()) + 0.5


def test_monce_of_two_patches_is_patchnce_because_the_plan_has_no_choice():
    query, key = unit_vectors(2, 2, 8), unit_vectors(2, 2, 8).roll(1, 2)
    torch.testing.assert_close(monce_loss(query, key, epsilon=0.1), patchnce_loss(query, key), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(
        monce_loss(query, key, epsilon=0.1, gamma=2.0, alpha=0.25),
        patchnce_loss(query, key, gamma=2.0, alpha=0.25),
        rtol=1e-4,
        atol=1e-6,
    )


def test_decoupled_loss_is_patchnce_without_the_positive_below():
    query, key = unit_vectors(2, 9, 8), unit_vectors(2, 9, 8).roll(1, 2)
    torch.testing.assert_close(F.softplus(hdce_loss(query, key)), patchnce_loss(query, key), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("loss", [monce_loss, lambda *a: hdce_loss(*a, gamma=2.0), hdce_loss])
def test_minibatch_is_one_large_image(loss):
    query, key = unit_vectors(3, 4, 8), unit_vectors(3, 4, 8).roll(1, 2)
    whole = loss(query.reshape(1, 12, 8), key.reshape(1, 12, 8), 0.07, "image")
    torch.testing.assert_close(loss(query, key, 0.07, "minibatch"), whole)
    assert not torch.allclose(loss(query, key, 0.07, "image"), whole)


def test_losses_are_in_float32_under_autocast():
    query, key = unit_vectors(2, 9, 8).bfloat16(), unit_vectors(2, 9, 8).roll(1, 2).bfloat16()
    for loss in (monce_loss, hdce_loss, lambda *a: hdce_loss(*a, gamma=2.0), relation_loss):
        with torch.autocast("cpu", torch.bfloat16):
            found = loss(query, key)
        assert found.dtype == torch.float32 and torch.equal(found, loss(query, key))


def test_src_is_nothing_where_relations_agree_whatever_the_vectors():
    key, turn = unit_vectors(2, 9, 8), torch.linalg.qr(unit_vectors(8, 8)).Q
    assert float(relation_loss(key @ turn, key)) == pytest.approx(0.0, abs=1e-6)
    assert float(relation_loss(unit_vectors(2, 9, 8).flip(1), key.roll(1, 2))) > 0.01
