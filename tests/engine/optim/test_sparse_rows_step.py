from __future__ import annotations

import copy
import io

import pytest
import torch
from torch import nn
from torch.nn.functional import embedding

from metricforge import step_touched_rows

OPTIMIZERS = {
    "SGD": lambda p: torch.optim.SGD(p, lr=0.1),
    "SGD with momentum and weight decay": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.05),
    "SGD with Nesterov momentum": lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.05),
    "Adam": lambda p: torch.optim.Adam(p, lr=0.1, weight_decay=0.05),
    "AdamW with AMSGrad": lambda p: torch.optim.AdamW(p, lr=0.1, weight_decay=0.05, amsgrad=True),
    "Adagrad": lambda p: torch.optim.Adagrad(p, lr=0.1, initial_accumulator_value=0.3),
    "RMSprop": lambda p: torch.optim.RMSprop(p, lr=0.1, momentum=0.9, weight_decay=0.05),
    "NAdam": lambda p: torch.optim.NAdam(p, lr=0.1, weight_decay=0.05),
}


def table_of(rows=6, dim=3):
    return nn.Parameter(torch.randn(rows, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0)))


def backward(table, rows, step):
    """A gradient that depends on the weights and differs in each step; sparse, naming ``rows`` alone."""
    target = torch.sin(torch.arange(table.shape[1]) + step + rows[:, None]).double()
    (embedding(rows, table, sparse=True) - target).pow(2).sum().backward()


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_with_every_row_in_every_gradient_it_is_dense_training(name):
    sparse, dense = table_of(), table_of()
    optimizer, reference = step_touched_rows(OPTIMIZERS[name]([sparse])), OPTIMIZERS[name]([dense])
    for step in range(8):
        rows = torch.randperm(6, generator=torch.Generator().manual_seed(step))
        backward(sparse, rows, step)
        backward(dense, rows, step)
        assert sparse.grad.is_sparse
        dense.grad = dense.grad.to_dense()
        for one in (optimizer, reference):
            one.step()
            one.zero_grad()
    torch.testing.assert_close(sparse, dense, rtol=1e-12, atol=1e-13)
    states = [one.state_dict()["state"] for one in (optimizer, reference)]
    assert states[0].keys() == states[1].keys()
    for index, state in states[1].items():
        assert {key: value.shape for key, value in states[0][index].items()} == {k: v.shape for k, v in state.items()}


def test_a_row_is_stepped_as_if_only_the_steps_it_is_touched_in_had_happened():
    generator = torch.Generator().manual_seed(3)
    touched = [torch.randperm(6, generator=generator)[:2] for _ in range(12)]
    table = table_of()
    make = OPTIMIZERS["SGD with momentum and weight decay"]
    optimizer = step_touched_rows(make([table]))
    for step, rows in enumerate(touched):
        before = table.detach().clone()
        backward(table, rows, step)
        optimizer.step()
        optimizer.zero_grad()
        untouched = [row for row in range(6) if row not in rows]
        assert torch.equal(table[untouched], before[untouched])
    for row in range(6):  # each alone, by the textbook: v = 0.9 v + g + 0.05 w, w = w - 0.1 v
        weight, velocity = table_of()[row].detach(), torch.zeros(3).double()
        for step, rows in enumerate(touched):
            if row in rows:
                target = torch.sin(torch.arange(3) + step + row).double()
                velocity = 0.9 * velocity + 2 * (weight - target) + 0.05 * weight
                weight = weight - 0.1 * velocity
        torch.testing.assert_close(table[row].detach(), weight, rtol=1e-12, atol=1e-13)


def test_a_row_named_twice_and_two_backwards_add_up():
    sparse, dense = table_of(), table_of()
    optimizer = step_touched_rows(torch.optim.SGD([sparse], lr=0.1, weight_decay=0.05))
    for rows in (torch.tensor([1, 4, 1]), torch.tensor([4, 2])):
        backward(sparse, rows, 0)
        backward(dense, rows, 0)
    optimizer.step()
    with torch.no_grad():
        touched = [1, 2, 4]
        dense[touched] -= 0.1 * (dense.grad.to_dense() + 0.05 * dense)[touched]
    torch.testing.assert_close(sparse, dense)


def test_the_learning_rate_of_the_group_applies_when_the_schedule_changes_it():
    table, other = table_of(), nn.Parameter(torch.ones(1))
    optimizer = step_touched_rows(
        torch.optim.SGD([dict(params=[other]), dict(params=[table], lr=0.4)], lr=0.1, momentum=0.9)
    )
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [1], gamma=0.5)
    for expected in (0.4, 0.2):
        before, rows = table.detach().clone(), torch.tensor([1 if expected == 0.4 else 2])
        backward(table, rows, 0)
        gradient = table.grad.to_dense()
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        torch.testing.assert_close(table.detach(), before - expected * gradient)


@pytest.mark.parametrize("name", ["SGD with momentum and weight decay", "AdamW with AMSGrad"])
def test_a_state_dict_resumes_bit_for_bit(name):
    def train(table, optimizer, steps):
        for step in steps:
            backward(table, torch.tensor([step % 6, (step + 2) % 6]), step)
            optimizer.step()
            optimizer.zero_grad()

    table = table_of()
    optimizer = step_touched_rows(OPTIMIZERS[name]([table]))
    train(table, optimizer, range(4))
    file = io.BytesIO()
    torch.save(dict(table=table.detach(), optimizer=optimizer.state_dict()), file)
    train(table, optimizer, range(4, 9))

    file.seek(0)
    saved = torch.load(file, weights_only=True)
    resumed = nn.Parameter(saved["table"])
    optimizer = step_touched_rows(OPTIMIZERS[name]([resumed]))
    optimizer.load_state_dict(saved["optimizer"])
    train(resumed, optimizer, range(4, 9))
    assert torch.equal(resumed, table)


def test_dense_parameters_beside_it_are_stepped_as_ever():
    table, dense = table_of(), nn.Parameter(torch.ones(2))
    alone = copy.deepcopy(dense)
    make = OPTIMIZERS["AdamW with AMSGrad"]
    optimizer, reference = step_touched_rows(make([dense, table])), make([alone])
    for step in range(3):
        backward(table, torch.tensor([0]), step)
        for parameter in (dense, alone):
            parameter.grad = torch.tensor([1.0, -step])
        optimizer.step()
        reference.step()
    assert torch.equal(dense, alone)
    assert [id(p) for p in optimizer.param_groups[0]["params"]] == [id(dense), id(table)]


def test_an_optimizer_whose_state_does_not_start_at_zero_is_refused():
    table = table_of()
    optimizer = step_touched_rows(torch.optim.Rprop([table]))
    backward(table, torch.tensor([0]), 0)
    with pytest.raises(ValueError, match=r"Rprop cannot step rows of a sparse gradient.*take SGD, Adam or AdamW"):
        optimizer.step()


def test_a_closure_is_refused():
    table = table_of()
    optimizer = step_touched_rows(torch.optim.SGD([table]))
    backward(table, torch.tensor([0]), 0)
    with pytest.raises(ValueError, match="without closure"):
        optimizer.step(lambda: 0.0)


def test_state_that_is_not_one_value_a_weight_is_refused():
    table = table_of()
    optimizer = step_touched_rows(torch.optim.Adafactor([table]))
    backward(table, torch.tensor([0, 3]), 0)
    with pytest.raises(ValueError, match=r"Adafactor keeps 'row_var' of shape \(2, 1\) for rows of shape \(2, 3\)"):
        optimizer.step()
