"""The projection head, and the gradient that it sends into the generator."""

import torch
from fixed import formula_image

from cut.models.patch_head import PatchHead, gather_patches, random_patch_ids
from cut.models.resnet import ResnetGenerator


def test_patches_are_those_of_the_ids():
    feature = torch.arange(2 * 3 * 4 * 5, dtype=torch.float32).view(2, 3, 4, 5)
    patches = gather_patches(feature, torch.tensor([7, 0]))  # row 1 column 2, and row 0 column 0
    assert torch.equal(patches[:, 0], feature[:, :, 1, 2])
    assert torch.equal(patches[:, 1], feature[:, :, 0, 0])


def test_ids_do_not_repeat_and_stop_at_the_size_of_the_map():
    ids = random_patch_ids([torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 9, 9)], 20)
    assert sorted(ids[0].tolist()) == list(range(16))
    assert len(ids[1].unique()) == 20 and int(ids[1].max()) < 81


def test_embeddings_are_unit_vectors_of_the_given_width():
    features = [torch.randn(2, 3, 8, 8), torch.randn(2, 5, 4, 4)]
    ids = random_patch_ids(features, 10)
    for use_mlp, widths in ((True, (7, 7)), (False, (3, 5))):
        embeddings = PatchHead([3, 5], 7, use_mlp)(features, ids)
        assert [e.shape for e in embeddings] == [(2, 10, w) for w in widths]
        for embedding in embeddings:
            torch.testing.assert_close(embedding.norm(dim=2), torch.ones(2, 10), rtol=1e-4, atol=0)


def test_with_instance_norm_neither_level_nor_strength_of_a_channel_counts():
    torch.manual_seed(0)
    feature, ids = torch.randn(2, 3, 8, 8), [torch.arange(64)]
    other = feature * torch.tensor([1.0, 9.0, 0.3]).view(1, 3, 1, 1) + torch.tensor([0.0, -4.0, 5.0]).view(1, 3, 1, 1)
    for norm, is_equal in (("instance", True), ("none", False)):
        (one,), (two,) = (PatchHead([3], 3, use_mlp=False, norm=norm)([f], ids) for f in (feature, other))
        assert torch.allclose(one, two, atol=1e-3) == is_equal
    flat = feature.flatten(2)
    expected = (flat - flat.mean(2, keepdim=True)) / (flat.var(2, correction=0, keepdim=True) + 1e-5).sqrt()
    (found,) = PatchHead([3], 3, use_mlp=False, norm="instance")([feature], ids)
    torch.testing.assert_close(found, torch.nn.functional.normalize(expected, dim=1).transpose(1, 2))


def test_gradient_at_batch_size_1_is_half_of_that_of_the_picture_twice():
    """Guards against torch's CPU instance norm, whose backward pass is wrong for channels-last gradients at batch 1."""
    torch.manual_seed(0)
    generator = ResnetGenerator(base_channels=4, num_blocks=4)
    taps, image = (0, 4, 8, 12, 14), formula_image(1, 3, 32)
    head = PatchHead(generator.feature_channels(taps), 8)
    ids = random_patch_ids(generator.encode(image, taps), 16)

    def gradient(images):
        generator.zero_grad()
        embeddings = head(generator.encode(images, taps), ids)
        sum((e * torch.arange(8.0)).sum() for e in embeddings).backward()
        return torch.cat([p.grad.flatten() for p in generator.parameters() if p.grad is not None])

    once, twice = gradient(image), gradient(torch.cat([image, image]))
    assert float((once - twice / 2).norm() / twice.norm()) < 1e-4
