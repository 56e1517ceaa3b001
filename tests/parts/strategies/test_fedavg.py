"""FedAvg: one full-batch step at each site, averaged by cases, is the centralised step."""

import pytest
import torch

from oncoseg import registry


def gradient_step(model, inputs, targets, rate=0.1):
    """One plain SGD step on the mean squared error of all the data there is."""
    loss = torch.nn.functional.mse_loss(model(inputs), targets)
    model.zero_grad()
    loss.backward()
    with torch.no_grad():
        for value in model.parameters():
            value.sub_(rate * value.grad)
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_one_full_batch_step_is_the_centralised_one():
    torch.manual_seed(0)
    inputs, targets = torch.randn(24, 5), torch.randn(24, 2)
    model = torch.nn.Sequential(torch.nn.Linear(5, 7), torch.nn.Tanh(), torch.nn.Linear(7, 2))
    begin = {name: value.clone() for name, value in model.state_dict().items()}
    whole = gradient_step(model, inputs, targets)
    states, counts = [], (3, 5, 16)
    for some_inputs, some_targets in zip(inputs.split(counts), targets.split(counts)):
        model.load_state_dict(begin)
        states.append(gradient_step(model, some_inputs, some_targets))
    merged = registry.build("strategies", "fedavg").merge(states, counts)
    for name, value in whole.items():
        assert torch.allclose(merged[name], value, atol=1e-6, rtol=0)
        assert not torch.allclose(states[0][name], value, atol=1e-4, rtol=0)


def test_sites_weigh_as_many_cases_as_they_have():
    states = [{"w": torch.tensor([0.0, 8.0])}, {"w": torch.tensor([4.0, 0.0])}]
    merged = registry.build("strategies", "fedavg").merge(states, [1, 3])
    assert merged["w"].tolist() == [3.0, 2.0]
    assert merged["w"].dtype == torch.float32


@pytest.mark.parametrize("cases", [(1, 1, 1), (7, 11, 13), (3, 5, 16)])
def test_counters_that_are_alike_stay_so(cases):
    states = [{"num_batches_tracked": torch.tensor(50)} for _ in cases]
    merged = registry.build("strategies", "fedavg").merge(states, cases)
    assert merged["num_batches_tracked"].dtype == torch.long
    assert int(merged["num_batches_tracked"]) == 50


@pytest.mark.parametrize("name", ["encoder.0.weight", "norm.running_mean"])
def test_everything_is_shared(name):
    assert registry.build("strategies", "fedavg").shares(name)
