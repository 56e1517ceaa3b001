"""U-Net: what the plan and the paper imply."""

from itertools import pairwise

from oncoseg import registry
from worlds import classes_task, make_batch, regions_task


def convs(dims, inputs, width):
    """Parameters of convolution, bias, and the norm's scale and shift."""
    return 3**dims * inputs * width + width + 2 * width


def test_the_number_of_parameters_is_the_sum_over_stages():
    task = classes_task(3)
    network = registry.build("networks", "unet:width=8", task)
    widths = [8, 16, 32, 64]
    encoder = sum(
        convs(3, first, second) + convs(3, second, second)
        for first, second in zip([2, *widths], widths)
    )
    up = sum(8 * coarse * fine + fine for fine, coarse in pairwise(widths))
    decoder = sum(convs(3, 2 * fine, fine) + convs(3, fine, fine) for fine in widths[:-1])
    heads = sum(fine * task.outputs + task.outputs for fine in widths[:2])
    assert sum(value.numel() for value in network.parameters()) == encoder + up + decoder + heads


def test_widths_double_to_the_limit_and_strides_are_the_plans():
    task = regions_task(3)
    network = registry.build("networks", "unet:width=8,limit=16", task).eval()
    pyramid = network.encode(make_batch(task))
    assert [level.shape[1] for level in pyramid] == [8, 16, 16, 16]
    assert [level.shape[2] for level in pyramid] == [32, 16, 8, 4]


def test_odd_sizes_come_back_whole():
    task = classes_task(2, 37)
    network = registry.build("networks", "unet:width=8", task).eval()
    assert network(make_batch(task))[0].shape[2:] == (37, 37)


def test_a_residual_stage_has_twice_the_convolutions_of_a_plain_one():
    task = classes_task(2)
    plain = registry.build("networks", "unet:width=8", task)
    residual = registry.build("networks", "unet:width=8,residual=true", task)

    def count(network):
        shapes = [value.shape for value in network.encoder.parameters()]
        return sum(len(shape) == 4 and shape[-1] == 3 for shape in shapes)

    assert count(residual) == 2 * count(plain)
