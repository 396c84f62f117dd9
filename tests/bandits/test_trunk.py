import re

import numpy as np
import pytest
import torch

from bandits import DIM as FEATURES
from bandits import LinearUCB, Outcomes, Policy
from bandits.training import TrunkSettings
from bandits.trunk import Trunk, refold

DIM = 6
FAST = TrunkSettings(epochs=40, patience=6)


def rows(seed, m, target):
    """Raw rows (m, DIM) and targets of them with a little noise, (m,)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(m, DIM))
    x[:, -1] = 1.0
    return torch.as_tensor(x, dtype=torch.float32), torch.as_tensor(
        target(x) + 0.1 * rng.normal(size=m), dtype=torch.float32
    )


def bent(x):
    return np.sin(2 * x[:, 0]) * x[:, 1] + np.abs(x[:, 2])


def straight(x):
    return x @ np.linspace(-1, 1, DIM)


def error(head, x, y):
    return float((head.score(x).mean - y).square().mean())


@pytest.fixture(scope="module")
def trunk():
    return Trunk.fit(*rows(0, 2000, bent), settings=FAST)


def test_a_bent_target_is_learned_and_raw_features_cannot(trunk):
    learn, test = rows(0, 2000, bent), rows(1, 2000, bent)
    folded = refold(trunk, *learn)
    raw = LinearUCB(DIM)
    raw.update(*learn)
    assert error(folded, trunk.features(test[0]), test[1]) < 0.4 * error(raw, *test)


def test_a_straight_target_costs_two_per_cent_at_most():
    learn, test = rows(2, 4000, straight), rows(3, 4000, straight)
    trunk = Trunk.fit(*learn, settings=FAST)
    raw = LinearUCB(DIM)
    raw.update(*learn)
    folded = refold(trunk, *learn)
    assert error(folded, trunk.features(test[0]), test[1]) <= 1.02 * error(raw, *test)


def test_folding_anew_is_folding_one_by_one(trunk):
    x, y = rows(4, 60, bent)
    rng = np.random.default_rng(5)
    weight, at = (torch.as_tensor(a) for a in (rng.uniform(0.5, 2, 60), rng.uniform(0, 9, 60)))
    group = torch.as_tensor(rng.integers(0, 2, 60))
    at_once = refold(
        trunk, x, y, weight, at, group=group, groups=2, ridge=0.5, half_life=3.0,
        dtype=torch.float64,
    )  # fmt: skip
    singly = LinearUCB(trunk.dim, groups=2, ridge=0.5, half_life=3.0)
    for i in range(60):
        one = slice(i, i + 1)
        singly.update(trunk.features(x[one]), y[one], weight[one], group=group[one], at=at[one])
    # features of one row and of sixty differ in the last float32 digit
    torch.testing.assert_close(at_once.gram, singly.gram, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(at_once.moment, singly.moment, rtol=1e-5, atol=1e-4)
    assert at_once.as_of == singly.as_of


def test_raw_features_pass_unchanged_and_learned_ones_are_as_long(trunk):
    x, _ = rows(0, 2000, bent)
    seen = trunk.features(x)
    assert seen.shape == (2000, trunk.dim)
    assert torch.equal(seen[:, FAST.out :], x)
    lengths = seen[:, : FAST.out].square().sum(1).mean(), x.square().sum(1).mean()
    assert float(lengths[0]) == pytest.approx(float(lengths[1]), rel=1e-3)
    assert torch.isfinite(trunk.features(1e6 * x)).all()
    assert trunk.features(x.reshape(50, 40, DIM)).shape == (50, 40, trunk.dim)


def test_a_seed_reproduces_and_another_trunk_has_another_version():
    learn = rows(6, 200, bent)
    few = TrunkSettings(epochs=2)
    first, again, other = (Trunk.fit(*learn, settings=few, seed=seed) for seed in (1, 1, 2))
    longer = Trunk.fit(*learn, settings=TrunkSettings(epochs=3), seed=1)
    assert first.version == again.version
    assert torch.equal(first.features(learn[0]), again.features(learn[0]))
    assert len({first.version, other.version, longer.version}) == 3


def test_a_trunk_is_itself_after_saving(trunk, tmp_path):
    trunk.save(tmp_path / "trunk.safetensors")
    loaded = Trunk.load(tmp_path / "trunk.safetensors")
    x, _ = rows(7, 10, bent)
    assert loaded.version == trunk.version
    assert torch.equal(loaded.features(x), trunk.features(x))
    assert loaded.settings == trunk.settings


def test_a_damaged_file_is_refused(trunk, tmp_path):
    path = tmp_path / "trunk.safetensors"
    trunk.save(path)
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match="damaged"):
        Trunk.load(path)


def test_families_are_held_out_whole_and_one_is_too_few():
    x, y = rows(8, 40, bent)
    few = TrunkSettings(epochs=1)
    Trunk.fit(x, y, family=torch.arange(40) // 20, settings=few)
    with pytest.raises(ValueError, match="one family"):
        Trunk.fit(x, y, family=torch.zeros(40, dtype=torch.int64), settings=few)


def test_a_rate_with_exposure_is_learned_by_poisson_deviance():
    rng = np.random.default_rng(9)
    x = rng.normal(size=(3000, DIM)).astype(np.float32)
    exposure = rng.uniform(1, 20, 3000)
    rate = np.exp(np.sin(2 * x[:, 0]) - 0.5)
    y = torch.as_tensor(rng.poisson(rate * exposure) / exposure)
    x, weight, truth = (torch.as_tensor(a) for a in (x, exposure, rate))
    trunk = Trunk.fit(x, y, weight, settings=TrunkSettings(loss="poisson", epochs=40, patience=6))
    folded = refold(trunk, x, y, weight)
    raw = LinearUCB(DIM)
    raw.update(x, y, weight)
    assert error(folded, trunk.features(x), truth) < 0.4 * error(raw, x, truth)


def test_each_group_trains_a_readout_of_its_own():
    x, y = rows(10, 2000, bent)
    group = torch.arange(2000) % 2
    y = torch.where(group == 0, y, -y)  # opposite: one readout for both could learn nothing
    trunk = Trunk.fit(x, y, group=group, settings=FAST)
    head = refold(trunk, x, y, group=group, groups=2)
    found = head.score(trunk.features(x)).mean.gather(1, group[:, None])[:, 0]
    assert float((found - y).square().mean()) < 0.3 * float(y.var())


def test_what_does_not_fit_is_refused(trunk):
    with pytest.raises(ValueError, match="out is 64"):
        TrunkSettings(out=64)
    with pytest.raises(ValueError, match="this trunk takes 6"):
        trunk.features(torch.zeros(1, DIM + 1))
    with pytest.raises(ValueError, match="1 rows"):
        Trunk.fit(torch.zeros(1, DIM), torch.zeros(1))


@pytest.mark.parametrize("name", ["x", "y", "weight"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -1e20])
def test_rows_that_no_weights_can_be_learned_from_are_named(name, value):
    x, y = rows(11, 50, bent)
    given = {"x": x, "y": y, "weight": torch.ones(50)}
    given[name] = given[name].clone()
    given[name][(7, 2) if name == "x" else 7] = value
    place = "row 7, column 2" if name == "x" else "row 7"
    said = re.escape(f"{name} is {value:g} in {place}: give numbers")
    with pytest.raises(ValueError, match=said):
        Trunk.fit(**given, settings=TrunkSettings(epochs=1))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_cuda_device_has_the_same_features_and_version(trunk):
    x, _ = rows(11, 50, bent)
    moved = trunk.to("cuda")
    assert moved.version == trunk.version
    torch.testing.assert_close(moved.features(x).cpu(), trunk.features(x), rtol=1e-4, atol=1e-4)
    trained = Trunk.fit(*(part.cuda() for part in rows(12, 500, bent)), settings=FAST)
    assert torch.isfinite(trained.features(x)).all()


# -- in the policy --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trunk_of_features():
    rng = np.random.default_rng(0)
    x = torch.as_tensor(rng.normal(size=(400, FEATURES)), dtype=torch.float32)
    return Trunk.fit(x, torch.sin(3 * x[:, 1]), settings=FAST)


def test_before_any_outcome_a_trunk_corrects_nothing(trunk_of_features, make):
    listings = make.listings(np.array([5.0, 20.0]), listing=np.array([0, 1]))
    prices = np.array([[4.0, 5.0, 7.0], [15.0, 20.0, 30.0]])
    found = []
    for policy in (Policy(), Policy(trunk=trunk_of_features)):
        profile = policy.profile(policy.posterior(listings))
        estimates, x = policy.estimate(listings, profile, prices)
        found.append((estimates.mean, x))
    np.testing.assert_allclose(found[1][0], found[0][0], rtol=1e-5)
    assert torch.equal(found[1][1], found[0][1])  # what is logged is the same under any trunk


def test_what_is_logged_is_what_the_head_saw(trunk_of_features, make):
    policy = Policy(trunk=trunk_of_features)
    listings = make.listings(np.full(6, 10.0), listing=np.arange(6))
    made = policy.decide(listings, make.random_ids(0, 6))
    rows = np.arange(6)
    logged = torch.as_tensor(made.features)
    raw = logged / logged[:, :1]
    seen = trunk_of_features.features(raw) * logged[:, :1]
    mean, _ = policy.corrected(logged)
    np.testing.assert_allclose(mean, policy.head.score(seen).mean, rtol=1e-4)
    np.testing.assert_allclose(mean, made.estimates.mean[rows, made.arm], rtol=1e-4)


def test_a_row_of_zeros_teaches_a_head_on_a_trunk_nothing(trunk_of_features):
    policy = Policy(trunk=trunk_of_features)
    one, none = np.ones(1), np.zeros((1, FEATURES), np.float32)
    at = np.zeros(1, np.int64)
    usual = one, one, one, at - 1, one * np.nan, one * 0, one * 0, one * np.nan, one * 0.05, one * 0
    policy.learn(Outcomes(at, one, one, one * 100, one * 5, one, one * 0.1, none, at, *usual))
    assert not policy.head.gram.any()
    assert not policy.head.moment.any()
    assert len(policy.evidence) == 1


def test_training_tells_how_it_goes():
    told = []
    x, y = rows(0, 500, bent)
    Trunk.fit(x, y, settings=FAST, watch=lambda *step: told.append(step))
    epochs, learned, held_out = zip(*told, strict=True)
    assert epochs == tuple(range(len(epochs)))
    assert min(learned) < 0.8 * learned[0]
    assert min(held_out) < held_out[0]
