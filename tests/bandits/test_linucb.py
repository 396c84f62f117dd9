import sys
from subprocess import Popen

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bandits import LinearUCB, roots
from bandits.roots import cholesky

DIM = 12
RIDGES = [0.1, 1.0, 5.0]
seeds = st.integers(0, 2**32 - 1)


def observations(seed, m, dim=DIM):
    """Features, targets and weights, (m, dim), (m,), (m,)."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(m, dim)), rng.normal(size=m), rng.uniform(0.1, 3.0, size=m)


def tensors(*arrays):
    return tuple(torch.as_tensor(a) for a in arrays)


def closed_form(x, y, weight, ridge, queries, prior=None):
    """Mean and width of ridge regression, by numpy.linalg.solve."""
    dim = x.shape[1]
    prior = np.zeros(dim) if prior is None else prior
    a = ridge * np.eye(dim) + (x * weight[:, None]).T @ x
    b = ridge * prior + (x * weight[:, None]).T @ y
    width = np.sqrt((queries * np.linalg.solve(a, queries.T).T).sum(1))
    return queries @ np.linalg.solve(a, b), width


def assert_scores(head, queries, mean, width, atol=1e-8):
    scores = head.score(torch.as_tensor(queries))
    np.testing.assert_allclose(scores.mean.numpy(), mean, rtol=0, atol=atol)
    np.testing.assert_allclose(scores.width.numpy(), width, rtol=0, atol=atol)


# -- scores against the closed form --------------------------------------------------------------


@pytest.mark.parametrize("ridge", RIDGES)
def test_scores_are_the_closed_form_in_float64(ridge):
    x, y, weight = observations(0, 300)
    queries = np.random.default_rng(1).normal(size=(64, DIM))
    head = LinearUCB(DIM, ridge=ridge)
    head.update(*tensors(x, y, weight))
    assert_scores(head, queries, *closed_form(x, y, weight, ridge, queries))


@pytest.mark.parametrize("ridge", RIDGES)
def test_scores_are_the_closed_form_in_float32(ridge):
    # positive features and targets: no cancellation hides or inflates a relative error
    x, y, weight = (np.abs(a) + 0.1 for a in observations(0, 300))
    queries = np.random.default_rng(1).uniform(0.1, 1.0, size=(64, DIM))
    x, y, weight, queries = (np.float32(a) for a in (x, y, weight, queries))
    head = LinearUCB(DIM, ridge=ridge, dtype=torch.float32)
    head.update(*tensors(x, y, weight))
    scores = head.score(torch.as_tensor(queries))
    exact = (np.float64(a) for a in (x, y, weight))
    mean, width = closed_form(*exact, ridge, np.float64(queries))
    assert scores.mean.dtype == scores.width.dtype == torch.float32
    np.testing.assert_allclose(scores.mean.numpy(), mean, rtol=1e-4)
    np.testing.assert_allclose(scores.width.numpy(), width, rtol=1e-4)


@pytest.mark.parametrize("ridge", RIDGES)
def test_one_head_per_arm_with_some_never_played(ridge):
    arms, played = 5, [0, 3]
    x, y, weight = observations(2, 200)
    group = np.random.default_rng(3).choice(played, size=200)
    queries = np.random.default_rng(4).normal(size=(30, arms, DIM))
    head = LinearUCB(DIM, ridge=ridge, groups=arms)
    head.update(*tensors(x, y, weight), group=torch.as_tensor(group))
    scores = head.score(torch.as_tensor(queries))
    assert scores.mean.shape == scores.width.shape == (30, arms)
    for arm in range(arms):
        mine = group == arm
        mean, width = closed_form(x[mine], y[mine], weight[mine], ridge, queries[:, arm])
        np.testing.assert_allclose(scores.mean[:, arm].numpy(), mean, rtol=0, atol=1e-8)
        np.testing.assert_allclose(scores.width[:, arm].numpy(), width, rtol=0, atol=1e-8)


@pytest.mark.parametrize("ridge", RIDGES)
@pytest.mark.parametrize("groups", [1, 3])
def test_a_never_played_arm_is_as_wide_as_its_prior(ridge, groups):
    # A = λ I, so A⁻¹ = I / λ; starting the inverse at λ I is right only where λ = 1
    queries = np.random.default_rng(5).normal(size=(20, groups, DIM))
    scores = LinearUCB(DIM, ridge=ridge, groups=groups).score(torch.as_tensor(queries))
    expected = np.linalg.norm(queries, axis=2) / np.sqrt(ridge)
    np.testing.assert_allclose(scores.width.numpy(), expected, rtol=0, atol=1e-12)
    assert not scores.mean.any()


def test_a_never_played_arm_with_ridge_five():
    x = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    assert LinearUCB(2, ridge=5.0).score(x).width.item() == pytest.approx(5 / 5**0.5, abs=1e-14)


@pytest.mark.parametrize("ridge", RIDGES)
@pytest.mark.parametrize("groups", [1, 4])
def test_a_batch_of_1024_is_1024_single_updates(ridge, groups):
    x, y, weight = tensors(*observations(6, 1024))
    group = torch.as_tensor(np.random.default_rng(7).integers(0, groups, 1024))
    at_once = LinearUCB(DIM, ridge=ridge, groups=groups)
    at_once.update(x, y, weight, group=group)
    singly = LinearUCB(DIM, ridge=ridge, groups=groups)
    for i in range(1024):
        one = slice(i, i + 1)
        singly.update(x[one], y[one], weight[one], group=group[one])
    queries = np.random.default_rng(8).normal(size=(40, groups, DIM))
    for head in (at_once, singly):
        for g in range(groups):
            mine = (group == g).numpy()
            part = (a.numpy()[mine] for a in (x, y, weight))
            mean, width = closed_form(*part, ridge, queries[:, g])
            scores = head.score(torch.as_tensor(queries))
            np.testing.assert_allclose(scores.mean[:, g].numpy(), mean, rtol=0, atol=1e-8)
            np.testing.assert_allclose(scores.width[:, g].numpy(), width, rtol=0, atol=1e-8)


def test_a_weight_of_three_is_three_observations():
    x, y, _ = tensors(*observations(9, 20))
    weighted, repeated = LinearUCB(DIM), LinearUCB(DIM)
    weighted.update(x, y, torch.full((20,), 3.0))
    repeated.update(x.repeat(3, 1), y.repeat(3))
    torch.testing.assert_close(weighted.gram, repeated.gram, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(weighted.moment, repeated.moment, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("ridge", RIDGES)
def test_the_prior_mean_holds_until_evidence_moves_it(ridge):
    prior = np.linspace(-2, 2, DIM)
    x, y, weight = observations(10, 100)
    queries = np.random.default_rng(11).normal(size=(16, DIM))
    head = LinearUCB(DIM, ridge=ridge, prior_mean=prior)
    assert_scores(head, queries, queries @ prior, np.linalg.norm(queries, axis=1) / ridge**0.5)
    head.update(*tensors(x, y, weight))
    assert_scores(head, queries, *closed_form(x, y, weight, ridge, queries, prior))


def test_one_head_scores_many_arms_a_row():
    x, y, weight = observations(12, 50)
    head = LinearUCB(DIM)
    head.update(*tensors(x, y, weight))
    queries = torch.as_tensor(np.random.default_rng(13).normal(size=(6, 4, DIM)))
    together, flat = head.score(queries), head.score(queries.reshape(24, DIM))
    assert together.mean.shape == together.width.shape == (6, 4)
    torch.testing.assert_close(together.mean.reshape(-1), flat.mean)
    torch.testing.assert_close(together.width.reshape(-1), flat.width)


def test_every_update_is_seen_by_the_next_score():
    x, y, weight = observations(14, 40)
    head = LinearUCB(DIM)
    queries = x[:5]
    for end in (10, 25, 40):  # scored in between, so that a stale factor would show
        start = 0 if end == 10 else (10 if end == 25 else 25)
        head.update(*tensors(x[start:end], y[start:end], weight[start:end]))
        assert_scores(head, queries, *closed_form(x[:end], y[:end], weight[:end], 1.0, queries))


def test_nothing_observed_changes_nothing():
    head = LinearUCB(DIM, half_life=1.0)
    head.update(torch.empty(0, DIM), torch.empty(0))
    assert not head.gram.any()
    assert head.as_of == -np.inf


# -- forgetting ----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(seed=seeds, cuts=st.lists(st.integers(0, 30), max_size=5))
def test_forgetting_depends_neither_on_order_nor_on_batches(seed, cuts):
    half_life = 7.0
    x, y, weight = observations(seed, 30, dim=3)
    rng = np.random.default_rng(seed)
    at = rng.uniform(0, 60, size=30)
    shuffled = LinearUCB(3, half_life=half_life)
    for part in np.split(rng.permutation(30), sorted(cuts)):
        rows = torch.as_tensor(part)
        shuffled.update(*(a[rows] for a in tensors(x, y, weight)), at=torch.as_tensor(at)[rows])
    in_order = LinearUCB(3, half_life=half_life)
    for i in np.argsort(at):
        one = slice(i, i + 1)
        in_order.update(*tensors(x[one], y[one], weight[one]), at=torch.as_tensor(at[one]))
    left = weight * 0.5 ** ((at.max() - at) / half_life)
    queries = rng.normal(size=(5, 3))
    mean, width = closed_form(x, y, left, 1.0, queries)
    for head in (shuffled, in_order):
        assert head.as_of == at.max()
        assert_scores(head, queries, mean, width)


def test_an_observation_counts_half_after_a_half_life():
    head = LinearUCB(1, half_life=10.0, ridge=2.0)
    x, y = torch.ones(1, 1), torch.ones(1)
    head.update(x, y, at=torch.tensor([0.0]))
    head.update(x, y, at=torch.tensor([10.0]))
    assert head.gram.item() == pytest.approx(1.5)
    head.update(x, y, at=torch.tensor([0.0]))  # late, and as old as the first
    assert head.gram.item() == pytest.approx(2.0)
    assert head.solve()[1].item() == pytest.approx(2.0 / (2.0 + 2.0))


@pytest.mark.parametrize("ridge", RIDGES)
def test_forgetting_never_touches_the_prior(ridge):
    x, y, _ = observations(15, 50)
    prior = np.arange(DIM, dtype=float)
    head = LinearUCB(DIM, ridge=ridge, half_life=1.0, prior_mean=prior)
    head.update(*tensors(x, y), at=torch.zeros(50))
    head.update(torch.zeros(1, DIM), torch.zeros(1), at=torch.tensor([200.0]))
    queries = x[:8]
    assert_scores(head, queries, queries @ prior, np.linalg.norm(queries, axis=1) / ridge**0.5)


# -- merging and restoring -----------------------------------------------------------------------


@settings(deadline=None, max_examples=40)
@given(seed=seeds, ridge=st.sampled_from(RIDGES), split=st.integers(0, 40))
def test_merging_is_training_on_the_union_in_either_order(seed, ridge, split):
    x, y, weight = tensors(*observations(seed, 40, dim=4))
    group = torch.as_tensor(np.random.default_rng(seed).integers(0, 2, 40))

    def trained(rows):
        head = LinearUCB(4, ridge=ridge, groups=2)
        head.update(x[rows], y[rows], weight[rows], group=group[rows])
        return head

    ours, theirs = trained(slice(None, split)), trained(slice(split, None))
    ours.solve()  # a factor kept from before the merge would be stale
    ours.merge(theirs)
    theirs.merge(trained(slice(None, split)))
    union = trained(slice(None))
    queries = torch.as_tensor(np.random.default_rng(seed).normal(size=(5, 2, 4)))
    for merged in (ours, theirs):
        assert torch.allclose(merged.gram, union.gram, rtol=1e-12, atol=1e-12)
        assert torch.allclose(merged.moment, union.moment, rtol=1e-12, atol=1e-12)
        assert torch.allclose(merged.score(queries).mean, union.score(queries).mean, atol=1e-8)
        assert torch.allclose(merged.score(queries).width, union.score(queries).width, atol=1e-8)
    assert torch.equal(ours.gram, theirs.gram)


@pytest.mark.parametrize(
    "other",
    [
        LinearUCB(DIM + 1),
        LinearUCB(DIM, ridge=2.0),
        LinearUCB(DIM, groups=2),
        LinearUCB(DIM, half_life=1.0),
    ],
)
def test_unlike_heads_do_not_merge(other):
    with pytest.raises(ValueError, match="heads differ in dim, groups, ridge or half_life"):
        LinearUCB(DIM).merge(other)


def test_heads_that_forget_do_not_merge():
    with pytest.raises(ValueError, match="no forgetting"):
        LinearUCB(DIM, half_life=1.0).merge(LinearUCB(DIM, half_life=1.0))


def test_a_restored_head_goes_on_as_if_nothing_had_happened():
    x, y, weight = tensors(*observations(16, 60))
    at = torch.arange(60, dtype=torch.float64)
    whole, first = LinearUCB(DIM, half_life=20.0), LinearUCB(DIM, half_life=20.0)
    whole.update(x, y, weight, at=at)
    first.update(x[:30], y[:30], weight[:30], at=at[:30])
    second = LinearUCB(DIM, half_life=20.0)
    second.solve()
    kept = first.gram.clone()
    second.restore(first.gram, first.moment, first.as_of)
    second.update(x[30:], y[30:], weight[30:], at=at[30:])
    assert torch.allclose(second.gram, whole.gram, rtol=1e-12, atol=1e-12)
    assert torch.allclose(second.score(x).mean, whole.score(x).mean, rtol=0, atol=1e-8)
    assert torch.equal(first.gram, kept)  # what was handed over is not written to


@pytest.mark.parametrize("shape", [((2, DIM, DIM), (1, DIM)), ((1, DIM, DIM), (1, DIM + 1))])
def test_statistics_of_another_shape_are_refused(shape):
    with pytest.raises(ValueError, match="statistics of shape"):
        LinearUCB(DIM).restore(torch.zeros(shape[0]), torch.zeros(shape[1]), 0.0)


# -- choosing ------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("rows", [1, 3, 400])  # few rows go through the root, many through L
def test_the_choice_is_the_highest_mean_and_width(rows, dtype):
    x, y, weight = observations(20, 200)
    head = LinearUCB(DIM, dtype=dtype)
    head.update(*tensors(x, y, weight))
    queries = np.random.default_rng(21).normal(size=(rows, 5, DIM))
    mean, width = closed_form(x, y, weight, 1.0, queries.reshape(-1, DIM))
    wanted = (mean + 0.7 * width).reshape(rows, 5)
    arms = head.choose(torch.as_tensor(queries), 0.7)
    assert arms.shape == (rows,)
    assert arms.dtype == torch.int64
    got = np.take_along_axis(wanted, arms.numpy()[:, None], axis=1)[:, 0]
    np.testing.assert_allclose(got, wanted.max(1), atol=1e-4)


def test_several_heads_choose_among_themselves_for_one_row():
    head = LinearUCB(2, groups=3)
    x = torch.tensor([[1.0, 0.0]])
    head.update(x, torch.tensor([5.0]), group=torch.tensor([1]))
    assert head.choose(x, 0.0).tolist() == [1]
    assert head.choose(x, 100.0).tolist() == [0]  # as wide as arm 2, and before it
    repeated = head.score(x[:, None].expand(1, 3, 2))
    torch.testing.assert_close(head.score(x).mean, repeated.mean)
    torch.testing.assert_close(head.score(x).width, repeated.width)


@pytest.mark.parametrize("groups", [1, 3])
def test_rows_one_by_one_stay_on_the_closed_form(groups):
    # more rows than a solution is renewed by, with decisions in between
    x, y, weight = observations(22, 1100)
    group = np.random.default_rng(23).integers(0, groups, 1100)
    queries = np.random.default_rng(24).normal(size=(7, groups, DIM))
    head = LinearUCB(DIM, groups=groups)
    head.prepare()
    for i in range(1100):
        one = slice(i, i + 1)
        head.update(*tensors(x[one], y[one], weight[one]), group=torch.as_tensor(group[one]))
        if i in (0, 400, 511, 512, 513, 1099):
            scores = head.score(torch.as_tensor(queries))
            for g in range(groups):
                past = group[: i + 1] == g
                part = (a[: i + 1][past] for a in (x, y, weight))
                mean, width = closed_form(*part, 1.0, queries[:, g])
                np.testing.assert_allclose(scores.mean[:, g].numpy(), mean, rtol=0, atol=1e-8)
                np.testing.assert_allclose(scores.width[:, g].numpy(), width, rtol=0, atol=1e-8)
        else:
            head.prepare()


def test_single_rows_renew_what_is_prepared_and_solve_for_nothing(monkeypatch):
    solved = []
    monkeypatch.setattr(roots, "cholesky", lambda *a: solved.append(1) or cholesky(*a))
    x, y, weight = observations(25, 200)
    head = LinearUCB(DIM)
    for i in range(200):
        head.prepare()
        head.update(*tensors(*(a[i : i + 1] for a in (x, y, weight))))
    assert len(solved) == 1
    head.prepare(many=True)  # before threads score large batches
    assert len(solved) == 2


# -- statistics that neither wind up nor blow up -------------------------------------------------


def spectrum(head):
    """Eigenvalues of A, ascending."""
    return np.linalg.eigvalsh(head.gram[0].numpy() + head.ridge * np.eye(head.dim))


def test_a_long_silence_leaves_the_prior():
    x, y, _ = observations(30, 100)
    head = LinearUCB(DIM, ridge=0.5, half_life=7.0)
    head.update(*tensors(x, y), at=torch.zeros(100))
    head.update(torch.zeros(1, DIM), torch.zeros(1), at=torch.tensor([1e9], dtype=torch.float64))
    assert not head.gram.any()
    np.testing.assert_array_equal(spectrum(head), 0.5)
    head.update(*tensors(x, y), at=torch.full((100,), 1e9, dtype=torch.float64))
    assert_scores(head, x[:5], *closed_form(x, y, np.ones(100), 0.5, x[:5]))


@pytest.mark.parametrize("batch", [1, 1000])
def test_endless_repetition_of_one_row_winds_nothing_up(batch):
    # a row of weight 1 a time unit sums to 1 / (1 - 0.5 ** (1 / half_life)) in the end
    half_life, x = 50.0, torch.ones(batch, 4, dtype=torch.float64)
    total = 10_000 if batch == 1 else 1_000_000
    head = LinearUCB(4, half_life=half_life)
    for start in range(0, total, batch):
        at = torch.arange(start, start + batch, dtype=torch.float64)
        head.update(x, torch.ones(batch), at=at)
    most = 1 / (1 - 0.5 ** (1 / half_life))
    eigenvalues = spectrum(head)
    assert eigenvalues[0] >= head.ridge * (1 - 1e-12)
    assert eigenvalues[-1] == pytest.approx(head.ridge + 4 * most, rel=1e-9)
    assert eigenvalues[-1] / eigenvalues[0] <= 1 + 4 * most / head.ridge + 1e-6
    away = torch.tensor([[1.0, -1.0, 1.0, -1.0]])  # never seen: as wide as ever
    assert head.score(away).width.item() == pytest.approx(2.0, abs=1e-9)


def test_a_million_updates_without_forgetting():
    rng = np.random.default_rng(31)
    theta = rng.normal(size=8)
    head = LinearUCB(8)
    for _ in range(1000):
        x = rng.normal(size=(1000, 8))
        head.update(*tensors(x, x @ theta))
    eigenvalues = spectrum(head)
    assert eigenvalues[0] >= head.ridge
    assert eigenvalues[-1] / eigenvalues[0] < 1.1
    np.testing.assert_allclose(head.solve()[1][0].numpy(), theta, atol=1e-5)


def test_one_row_repeated_singly_keeps_the_root_sound():
    # A's condition number grows to 80,001: the root is renewed and solved for again on the way
    head = LinearUCB(4, ridge=1.0)
    x, y = torch.full((1, 4), 2.0), torch.ones(1)
    for _ in range(5000):
        head.prepare()
        head.update(x, y)
    away = torch.tensor([[1.0, -1.0, 0.0, 0.0]])
    assert head.score(away).width.item() == pytest.approx(2**0.5, abs=1e-9)
    assert head.score(x).width.item() == pytest.approx((16 / (1 + 16 * 5000)) ** 0.5, abs=1e-9)
    assert spectrum(head)[0] >= 1 - 1e-9


@pytest.mark.parametrize("groups", [1, 2])
def test_statistics_rounded_to_more_than_the_ridge_still_score(groups):
    x, y, weight = observations(53, 40)
    head = LinearUCB(DIM, groups=groups)
    group = torch.zeros(40, dtype=torch.int64)
    rows = tensors(x, y, weight)
    head.update(*rows, group=group)
    for scale in (1e20, -1e20):  # what was taken back leaves its rounding
        head.update(*rows[:2], scale * rows[2], group=group)
    head.gram[0] -= 1e4 * torch.eye(DIM)  # as the most unlucky of roundings might
    scores = head.score(torch.as_tensor(x))
    for table in (scores.mean, scores.width, *head.solve()):
        assert np.isfinite(table.numpy()).all()


# -- several workers -----------------------------------------------------------------------------


WORKER = """
import sys, numpy as np, torch
from bandits import LinearUCB
rows = np.load(sys.argv[1])
head = LinearUCB(rows["x"].shape[1])
head.update(*(torch.as_tensor(rows[name]) for name in ("x", "y", "weight")))
np.savez(sys.argv[2], gram=head.gram.numpy(), moment=head.moment.numpy())
"""


def test_workers_in_processes_of_their_own_merge_to_one_fold(tmp_path):
    seeds, workers = [40, 41, 42], []
    for seed in seeds:
        given, done = tmp_path / f"{seed}.npz", tmp_path / f"{seed}-done.npz"
        np.savez(given, **dict(zip(("x", "y", "weight"), observations(seed, 500), strict=True)))
        workers.append(Popen([sys.executable, "-c", WORKER, str(given), str(done)]))
    assert [worker.wait(120) for worker in workers] == [0, 0, 0]
    loaded = [np.load(tmp_path / f"{seed}-done.npz") for seed in seeds]
    found = [(part["gram"], part["moment"]) for part in loaded]
    merged = LinearUCB(DIM)
    for gram, moment in found:
        worker = LinearUCB(DIM)
        worker.restore(*tensors(gram, moment), -np.inf)
        merged.merge(worker)
    parts = [observations(seed, 500) for seed in seeds]
    once = LinearUCB(DIM)
    once.update(*tensors(*(np.concatenate(column) for column in zip(*parts, strict=True))))
    np.testing.assert_allclose(merged.gram.numpy(), once.gram.numpy(), rtol=1e-10, atol=1e-10)
    np.testing.assert_allclose(merged.moment.numpy(), once.moment.numpy(), rtol=1e-10, atol=1e-10)
    queries = torch.as_tensor(parts[0][0][:20])
    for ours, theirs in zip(merged.solve(), once.solve(), strict=True):
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=0, atol=1e-10)
    torch.testing.assert_close(merged.score(queries).width, once.score(queries).width)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("groups", [1, 3])
def test_a_cuda_device_scores_and_chooses_as_the_cpu_does(groups):
    x, y, weight = tensors(*observations(50, 300))
    group = torch.as_tensor(np.random.default_rng(51).integers(0, groups, 300))
    queries = torch.as_tensor(np.random.default_rng(52).normal(size=(64, max(groups, 4), DIM)))
    queries = queries if groups == 1 else queries[:, :groups]
    heads = [LinearUCB(DIM, groups=groups, device=device) for device in ("cpu", "cuda")]
    for head in heads:
        head.update(x, y, weight, group=group)
    ours, theirs = (head.score(queries) for head in heads)
    torch.testing.assert_close(theirs.mean.cpu(), ours.mean, rtol=0, atol=1e-9)
    torch.testing.assert_close(theirs.width.cpu(), ours.width, rtol=0, atol=1e-9)
    assert torch.equal(heads[1].choose(queries).cpu(), heads[0].choose(queries))


# -- what is refused at the door -----------------------------------------------------------------


@pytest.mark.parametrize("ridge", [0.0, -1.0])
def test_a_ridge_that_is_not_above_zero_is_refused(ridge):
    with pytest.raises(ValueError, match="ridge is"):
        LinearUCB(DIM, ridge=ridge)


@pytest.mark.parametrize("half_life", [0.0, -3.0])
def test_a_half_life_that_is_not_above_zero_is_refused(half_life):
    with pytest.raises(ValueError, match="half_life is"):
        LinearUCB(DIM, half_life=half_life)


def test_several_heads_need_to_know_which():
    with pytest.raises(ValueError, match="group is missing"):
        LinearUCB(DIM, groups=2).update(torch.ones(1, DIM), torch.ones(1))


def test_forgetting_needs_times():
    with pytest.raises(ValueError, match="at is missing"):
        LinearUCB(DIM, half_life=1.0).update(torch.ones(1, DIM), torch.ones(1))
