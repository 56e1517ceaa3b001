"""What MaxQuery promises: queries are clusters, and what belongs to none of them is strange."""

import pytest
import torch

from oncoseg import registry
from oncoseg.blocks.queries import ClusterAttention, QueryLayer
from oncoseg.errors import BadOption
from oncoseg.networks.maxquery import cosine, mixture, strangeness
from worlds import classes_task, make_batch, regions_task

SMALL = "maxquery:widths=8x16,queries=8,features=16,dim=32,heads=2,hidden=64,layers=2"


def built(task, spelled=SMALL, seed=0):
    torch.manual_seed(seed)
    return registry.build("networks", spelled, task).eval()


def test_a_voxel_at_a_query_is_not_strange_and_one_at_right_angles_to_all_is():
    queries = torch.eye(4)[None, :3] * 7
    voxels = torch.stack([torch.eye(4)[1], torch.eye(4)[3], -torch.eye(4)[0]], dim=1)[None]
    found = strangeness(cosine(voxels * 0.2, queries))
    torch.testing.assert_close(found, torch.tensor([[[-1.0, 0.0, 0.0]]]))


def test_a_query_a_class_is_a_linear_head():
    """N = C queries that each stand for their class: softmax of F.q / temperature, no more."""
    network = built(classes_task(2), "maxquery:queries=4,temperature=0.5")
    features, queries = torch.randn(2, 6, 5, 5), torch.randn(2, 3, 6)
    responses = cosine(features, queries)
    certain = torch.eye(3).expand(2, 3, 3) * 100
    logits = network.logits(responses, certain)
    head = torch.nn.functional.normalize(queries, dim=2) / 0.5
    unit = torch.nn.functional.normalize(features, dim=1)
    linear = torch.einsum("bnd,bdhw->bnhw", head, unit)
    torch.testing.assert_close(logits.softmax(1), linear.softmax(1), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("exclusive", [True, False])
def test_logits_are_those_of_the_mixture_of_what_queries_are(exclusive):
    members = torch.tensor([0.25, 0.75]).view(1, 2, 1, 1)
    classes = torch.tensor([[0.8, 0.2], [0.4, 0.6]])
    kinds = classes.log() if exclusive else torch.logit(classes)
    logits = mixture(members, kinds[None], exclusive=exclusive)
    shares = logits.softmax(1) if exclusive else logits.sigmoid()
    torch.testing.assert_close(shares.flatten(), torch.tensor([0.5, 0.5]), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("task", "sizes"), [(classes_task(2, classes=2), (16, 8, 8)), (regions_task(2), (16, 16))]
)
def test_groups_share_the_queries_and_their_mass_is_one(task, sizes):
    network = built(task, "maxquery:widths=8x16,dim=32,heads=2,hidden=64")
    assert network.sizes == sizes
    responses, kinds = network.respond(network.encode(make_batch(task)))
    assert responses.shape == (2, 32, 32, 32)
    assert kinds.shape == (2, 32, task.outputs)
    assert float(responses.detach().abs().max()) <= 1 + 1e-6
    mass = network.mass(responses)
    assert mass.shape == (2, len(sizes), 32, 32)
    torch.testing.assert_close(mass.sum(1), torch.ones(2, 32, 32))


def test_too_few_queries_for_the_classes_are_refused():
    with pytest.raises(BadOption, match="at least 10 queries"):
        built(classes_task(2, classes=5), "maxquery:queries=9")


def test_the_map_of_strangeness_comes_after_the_logits():
    task = classes_task(3, 16)
    network, batch = built(task), make_batch(task)
    answer, logits = network.answer(batch), network(batch)[0]
    assert network.maps == ("ood",)
    torch.testing.assert_close(answer[:, : task.outputs], logits)
    responses, _ = network.respond(network.encode(batch))
    torch.testing.assert_close(answer[:, task.outputs], -responses.amax(1))


def test_clusters_take_the_mean_of_the_voxels_that_are_theirs():
    torch.manual_seed(0)
    layer = ClusterAttention(8).eval()
    queries, image = torch.randn(1, 3, 8), torch.randn(1, 40, 8)
    members = layer.assign(queries, image)
    torch.testing.assert_close(members.sum(1), torch.ones(1, 40))
    assert set(members.unique().tolist()) == {0.0, 1.0}
    found = layer(queries, image, image)
    for query in range(3):
        own = members[0, query] > 0
        assert own.any()
        expected = layer.out(layer.value(image[0, own]).mean(0))
        torch.testing.assert_close(found[0, query], expected)
    trained = layer.train().assign(queries, image)
    torch.testing.assert_close(trained, members, atol=1e-6, rtol=0)
    assert torch.autograd.grad(trained[0, 0].sum(), layer.query.weight)[0].abs().max() > 0


def test_a_cluster_without_voxels_stays_finite():
    layer = ClusterAttention(4).eval()
    with torch.no_grad():
        found = layer(torch.zeros(1, 5, 4), torch.randn(1, 9, 4), torch.randn(1, 9, 4))
    assert torch.isfinite(found).all()


def test_queries_only_see_one_another_where_they_should():
    torch.manual_seed(0)
    image, places = torch.randn(1, 7, 8), torch.zeros(7, 8)
    queries = torch.randn(1, 3, 8)
    changed = queries.clone()
    changed[:, 2] += 1
    for among in (False, True):
        layer = QueryLayer(8, heads=2, hidden=16, among=among).eval()
        same = torch.equal(
            layer(queries, image, places)[:, :2], layer(changed, image, places)[:, :2]
        )
        assert same is not among


def test_a_texture_never_seen_is_strange_after_a_short_training():
    """Smooth background and striped squares are learned; a square of checks is not."""
    task = classes_task(2, 32, classes=1)
    network = built(task).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=3e-3)
    loss = registry.build("losses", "dice_ce", exclusive=True)
    method = registry.build("methods", "query_distribution", network, task, loss)
    for step in range(160):
        optimiser.zero_grad()
        batch, _ = textures(task, step, strange=False)
        sum(method.losses(batch, step).values()).backward()
        optimiser.step()
    batch, odd = textures(task, 1000, strange=True)
    with torch.no_grad():
        found = network.eval().answer(batch)
    inside = batch.label[:, 1] > 0
    assert ((found[:, 1] > found[:, 0]) == inside)[~odd].float().mean() > 0.97
    assert auroc(found[:, 2][odd], found[:, 2][~odd]) > 0.8


def textures(task, seed, *, strange):
    """Noise, a square of stripes (the class) and, where `strange`, one of checks."""
    batch = make_batch(task, size=8, seed=seed)
    generator = torch.Generator().manual_seed(seed)
    image = 0.3 * torch.randn(8, 1, 32, 32, generator=generator)
    inside, odd = torch.zeros(2, 8, 32, 32, dtype=torch.bool)
    rows, columns = torch.meshgrid(torch.arange(32), torch.arange(32), indexing="ij")
    for item in range(8):
        top, left = torch.randint(0, 20, (2,), generator=generator).tolist()
        inside[item, top : top + 12, left : left + 12] = True
        image[item, 0][inside[item]] += (2.0 * (rows // 2 % 2) - 1)[inside[item]]
        if strange:
            odd[item, 20 - top : 32 - top, 20 - left : 32 - left] = True
            odd[item] &= ~inside[item]
            checks = 4.0 * ((rows + columns) % 2) - 2
            image[item, 0][odd[item]] += checks[odd[item]]
    label = torch.stack([~inside, inside], dim=1).float()
    return batch.but(image=image, label=label), odd


def auroc(strange, usual):
    """The chance that a strange voxel scores above a usual one."""
    ranks = torch.cat([strange, usual]).argsort().argsort().double() + 1
    total = ranks[: len(strange)].sum() - len(strange) * (len(strange) + 1) / 2
    return float(total / (len(strange) * len(usual)))


def test_the_exported_graph_says_the_same():
    from oncoseg.export import to_onnx

    task = classes_task(3, 16)
    assert to_onnx(built(task), task)
