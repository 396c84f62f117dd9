import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from finetune import losses

NAN = math.nan


def unit(rows):
    return torch.nn.functional.normalize(torch.tensor(rows, dtype=torch.float32), dim=1)


def drawn(seed, n=12, d=5, t=2):
    stream = torch.Generator().manual_seed(seed)
    vectors = torch.nn.functional.normalize(torch.randn(n, d, generator=stream), dim=1)
    target = torch.randn(n, t, generator=stream)
    group = torch.randint(5, (n,), generator=stream)
    trust = torch.rand(n, t, generator=stream)
    return vectors, group, target, trust


def huber(error):
    error = abs(error)
    small = error <= losses.STEEP
    return error**2 if small else 2 * losses.STEEP * (error - losses.STEEP / 2)


@pytest.mark.parametrize("seed", range(5))
def test_neighbours_predict_as_a_loop_over_products_would(seed):
    vectors, group, target, trust = drawn(seed)
    target[::4, 1] = NAN
    found = losses.neighbour_loss(vectors, group, target, trust, 0.2)
    for t in range(2):
        total = weight = 0.0
        for i in range(len(vectors)):
            others = [
                j
                for j in range(len(vectors))
                if group[j] != group[i] and not math.isnan(target[j, t])
            ]
            if math.isnan(target[i, t]) or not others:
                continue
            share = [math.exp(float(vectors[i] @ vectors[j]) / 0.2) * trust[j, t] for j in others]
            predicted = sum(s * target[j, t] for s, j in zip(share, others, strict=True)) / sum(
                share
            )
            total += float(trust[i, t]) * huber(float(predicted - target[i, t]))
            weight += float(trust[i, t])
        assert float(found[t]) == pytest.approx(total / weight, rel=1e-4)


def test_a_variant_says_nothing_of_its_own_product():
    vectors = unit([[1, 0], [1, 0], [0, 1]])
    target = torch.tensor([[0.0], [1.0], [0.5]])
    alone = losses.neighbour_loss(
        vectors, torch.tensor([0, 0, 1]), target, torch.ones(3, 1), temperature=0.01
    )
    # the third is nearest to neither, but the only one of another group for the first two
    assert float(alone) == pytest.approx((0.25 + 0.25 + 0.0) / 3, abs=1e-6)


def test_one_group_alone_teaches_nothing_and_gives_no_nan_gradient():
    vectors = unit([[1.0, 0.2], [0.3, 1.0]]).requires_grad_()
    found = losses.neighbour_loss(
        vectors, torch.zeros(2, dtype=torch.int64), torch.ones(2, 1), torch.ones(2, 1), 0.1
    )
    assert found.isnan().all()
    losses.balanced(found, torch.zeros(1)).backward()
    assert vectors.grad is not None
    assert vectors.grad.isfinite().all()


def test_the_head_is_linear_and_its_error_is_hubers():
    vectors = unit([[1, 0, 0, 0], [0, 1, 0, 0]])
    weight, bias = torch.tensor([[1.0, 2.0, 0, 0]]), torch.tensor([0.5])
    predicted = losses.linear_head(vectors, weight, bias)[:, 0]
    assert predicted.tolist() == pytest.approx([2 / 3 + 0.5, 4 / 3 + 0.5])
    target, trust = torch.tensor([[0.0], [6.0]]), torch.tensor([[1.0], [0.5]])
    found = losses.head_loss(vectors, weight, bias, target, trust)
    by_hand = (huber(7 / 6) + 0.5 * huber(11 / 6 - 6)) / 1.5
    assert float(found) == pytest.approx(by_hand, rel=1e-6)


@given(st.integers(0, 100))
def test_what_is_unknown_moves_no_gradient(seed):
    vectors, _, target, trust = drawn(seed)
    weight = torch.randn(2, 5, generator=torch.Generator().manual_seed(seed)).requires_grad_()
    target[:, 1] = NAN
    found = losses.head_loss(vectors, weight, torch.zeros(2), target, trust)
    losses.balanced(found, torch.zeros(2)).backward()
    assert weight.grad is not None
    assert (weight.grad[1] == 0).all()
    assert weight.grad.isfinite().all()


def test_balancing_is_least_where_the_variance_is_the_loss():
    found = torch.tensor([0.3, 2.0])
    best = losses.balanced(found, found.log())
    assert float(best) == pytest.approx(2 + math.log(0.3) + math.log(2.0), rel=1e-6)
    for step in (-0.1, 0.1):
        assert losses.balanced(found, found.log() + step) > best


def test_meaning_costs_nothing_where_nothing_moved():
    vectors, *_ = drawn(0)
    assert float(losses.meaning_loss(vectors, vectors)) == 0
    turned = vectors.flip(1)  # an orthogonal change keeps every similarity
    assert float(losses.meaning_loss(turned, vectors)) == pytest.approx(0, abs=1e-10)
    assert float(losses.meaning_loss(unit([[1, 0], [1, 0]]), unit([[1, 0], [0, 1]]))) == 50


def test_partners_that_match_cost_less_than_partners_that_do_not():
    vectors = unit([[1, 0, 0], [0, 1, 0], [0, 0, 1]])
    right = losses.together_loss(vectors, vectors, 0.1)
    wrong = losses.together_loss(vectors, vectors.roll(1, 0), 0.1)
    assert float(right) == pytest.approx(math.log(1 + 2 * math.exp(-10)), rel=1e-3)
    assert float(wrong) == pytest.approx(10 + float(right), rel=1e-3)
