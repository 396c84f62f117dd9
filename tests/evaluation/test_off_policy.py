import numpy as np
import pytest
from scipy import stats

from evaluation.estimators import ESTIMATORS, DoublyRobust, InversePropensity
from evaluation.intervals import Ratio, bca, influence, standard_error, student, two_way
from evaluation.logged import Logged, Unanswerable
from evaluation.off_policy import earned, evaluate
from evaluation.overlap import Demands, weigh

N = 200


def log_of(n=N, seed=0, **other):
    """Two arms with chances 0.7 and 0.3; rewards 1 and 2 with noise."""
    rng = np.random.default_rng(seed)
    action = (rng.random(n) < 0.3).astype(np.int64)
    chance = np.tile([0.7, 0.3], (n, 1))
    reward = action + 1.0 + rng.normal(scale=0.5, size=n)
    values = {"propensities": chance, **other}
    return Logged(action, reward, chance[np.arange(n), action], 2, **values)


def second(n=N):
    """All probability on the second arm."""
    return np.tile([0.0, 1.0], (n, 1))


# -- the log -------------------------------------------------------------------------------------


@pytest.mark.parametrize("bad", [0.0, -0.1, 1.5, float("nan")])
def test_impossible_propensities_are_refused_with_count_row_and_fix(bad):
    chance = np.full(5, 0.5)
    chance[3] = bad
    with pytest.raises(Unanswerable, match=rf"in 1 of 5 rows \(first: {bad} in row 3\).*log it"):
        Logged(np.zeros(5, np.int64), np.ones(5), chance, 2)


@pytest.mark.parametrize("other", [5.0, -0.5, np.nan, 0.1])
def test_propensities_of_other_arms_that_are_none_are_refused(other):
    logged = log_of()
    chance = logged.propensities.copy()
    chance[1, 1 - logged.action[1]] = other
    with pytest.raises(Unanswerable, match=rf"do not add up to 1 in 1 of {N} rows .* in row 1\)"):
        log_of(propensities=chance)


def test_propensities_of_another_draw_are_refused():
    with pytest.raises(Unanswerable, match=r"propensity is 0\.5 in row 0, but .* has 0\.6"):
        Logged(np.array([0]), np.ones(1), np.array([0.5]), 2, np.array([[0.6, 0.4]]))


def test_a_log_without_rows_is_refused():
    with pytest.raises(Unanswerable, match="has no row"):
        Logged(np.zeros(0, np.int64), np.zeros(0), np.zeros(0), 2)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"action": np.array([0, 2])}, "action is 2 in row 1: give arms from 0 to 1"),
        ({"reward": np.array([np.nan, 1])}, "reward is nan in row 0"),
        ({"reward": np.ones(3)}, r"reward has shape \(3,\): give one value a row, \(2,\)"),
        ({"mass": np.array([1.0, 0.0])}, r"mass is 0\.0 in row 1"),
        ({"action": np.zeros(2)}, "action is float64: give numbers of arms"),
        ({"propensities": np.ones((2, 3))}, r"propensities have shape \(2, 3\): give \(2, 2\)"),
    ],
)
def test_impossible_values_are_named(changed, message):
    fields = {
        "action": np.array([0, 1]),
        "reward": np.ones(2),
        "propensity": np.full(2, 0.5),
        "n_actions": 2,
    }
    with pytest.raises(ValueError, match=message):
        Logged(**{**fields, **changed})


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (np.ones((N, 3)) / 3, r"target has shape \(200, 3\)"),
        (np.tile([0.5, 0.4], (N, 1)), r"target adds up to 0\.9 in row 0"),
        (np.tile([1.5, -0.5], (N, 1)), r"target adds up to 1\.0 in row 0: .*not negative"),
    ],
)
def test_targets_that_are_no_probabilities_are_named(target, message):
    with pytest.raises(ValueError, match=message):
        evaluate(log_of(), target)


# -- refusals ------------------------------------------------------------------------------------


def test_arms_that_could_not_be_drawn_are_counted():
    chance = np.tile([1.0, 0.0], (N, 1))
    logged = Logged(np.zeros(N, np.int64), np.ones(N), np.ones(N), 2, chance)
    target = np.tile([0.75, 0.25], (N, 1))
    with pytest.raises(Unanswerable, match=r"25\.00% of the target's probability") as refusal:
        evaluate(logged, target)
    # the weights show it as well: their mean is 0.75
    assert len(refusal.value.reasons) == 2
    blind = Logged(np.zeros(N, np.int64), np.ones(N), np.ones(N), 2)
    with pytest.raises(Unanswerable, match=r"mean weight is 0\.750 ± 0\.000 and should be 1"):
        evaluate(blind, target)


def test_targets_that_no_draw_agrees_with_are_refused():
    blind = Logged(np.zeros(N, np.int64), np.ones(N), np.ones(N), 2)
    with pytest.raises(Unanswerable, match="would have drawn none of the 200 logged actions"):
        evaluate(blind, second())


def test_few_effective_draws_are_refused_and_the_demand_can_be_changed():
    logged = log_of(40)
    with pytest.raises(
        Unanswerable, match=r"effective sample size is \d+\.0 of 40 draws, below 30"
    ):
        evaluate(logged, second(40))
    assert evaluate(logged, second(40), demands=Demands(effective=5)).estimates["snips"]


def test_wrong_propensities_are_found_in_the_weights():
    logged = log_of(1000)
    told = Logged(logged.action, logged.reward, np.full(1000, 0.5), 2)
    with pytest.raises(Unanswerable, match="logged propensities are not those of the draws"):
        evaluate(told, second(1000))


def test_nothing_earned_is_no_estimate():
    logged = log_of()
    nothing = Logged(logged.action, np.zeros(N), logged.propensity, 2)
    with pytest.raises(Unanswerable, match="earned anything"):
        evaluate(nothing, second())


def test_estimators_that_need_a_model_say_so():
    with pytest.raises(ValueError, match="dr needs predicted rewards"):
        evaluate(log_of(), second(), estimators=[DoublyRobust()])
    assert evaluate(log_of(), second()).estimates.keys() == {"ips", "snips"}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"level": 95}, "level is 95"),
        ({"method": "normal"}, "method is 'normal'"),
        ({"predicted": np.ones((2, 2))}, r"predicted has shape \(2, 2\)"),
        ({"predicted": np.full((N, 2), np.nan)}, "not finite"),
    ],
)
def test_impossible_arguments_are_named(changed, message):
    with pytest.raises(ValueError, match=message):
        evaluate(log_of(), second(), **changed)


# -- weights -------------------------------------------------------------------------------------


def test_weights_are_described_as_worked_out_by_hand():
    chance = np.array([0.5, 0.25, 0.25, 0.5])
    logged = Logged(np.array([0, 1, 1, 0]), np.ones(4), chance, 2, mass=np.array([1.0, 2, 1, 4]))
    found = weigh(logged, np.tile([0.5, 0.5], (4, 1)))  # weights 1, 2, 2, 1; times mass 1, 4, 2, 4
    assert found.effective == pytest.approx(11**2 / (1 + 16 + 4 + 16))
    assert (found.largest, found.largest_share) == pytest.approx((2, 4 / 11))
    assert found.mean == pytest.approx(11 / 8)
    assert (found.rows, found.groups, found.matched) == (4, 4, 4)
    assert np.isnan(found.unseen)


def test_draws_of_one_group_count_once():
    one = weigh(log_of(group=np.arange(N) // 4), np.tile([0.7, 0.3], (N, 1)))
    assert (one.rows, one.groups, one.effective) == pytest.approx((N, N / 4, N / 4))


# -- intervals -----------------------------------------------------------------------------------


def test_a_mean_has_the_textbook_interval():
    x = np.array([1.0, 4.0, 2.0, 7.0])
    found = student([Ratio(x, np.ones(4))], np.arange(4), 0.95, 3)
    low, high = stats.t.interval(0.95, 3, x.mean(), x.std(ddof=1) / 2)
    assert (found.value, found.low, found.high) == pytest.approx((3.5, low, high))


def test_a_ratio_has_the_delta_methods_variance():
    num, den = np.array([1.0, 4.0, 2.0]), np.array([1.0, 2.0, 3.0])
    ratio = 7 / 6
    by_hand = np.sqrt(3 / 2 * ((num - ratio * den) ** 2).sum()) / 6
    assert standard_error([Ratio(num, den)], np.arange(3)) == pytest.approx(by_hand)
    assert influence([Ratio(num, den)]).sum() == pytest.approx(0)


def test_rows_of_one_group_are_summed_before_they_are_squared():
    x, groups = np.array([1.0, 1.0, 5.0, 5.0]), np.array([0, 0, 1, 1])
    twice = standard_error([Ratio(x, np.ones(4))], groups)
    once = standard_error([Ratio(np.array([1.0, 5.0]), np.ones(2))], np.arange(2))
    assert twice == pytest.approx(once)


def test_rows_of_two_groupings_have_the_variances_of_both_less_that_of_their_cells():
    x = np.array([1.0, 4.0, 2.0, 9.0, 3.0, 8.0])
    row, column = np.repeat(np.arange(2), 3), np.tile(np.arange(3), 2)
    off = (x - x.mean()).reshape(2, 3)
    rows, columns, cells = (c / (c - 1) * (s**2).sum() / 36 for c, s in (
        (2, off.sum(1)), (3, off.sum(0)), (6, off)
    ))  # fmt: skip
    ratio = [Ratio(x, np.ones(6))]
    found = two_way(ratio, row, column, 0.95)
    assert found.se**2 == pytest.approx(max(rows, columns, rows + columns - cells))
    reach = stats.t.ppf(0.975, 1) * found.se
    assert (found.low, found.high) == pytest.approx((4.5 - reach, 4.5 + reach))
    # with every row its own other group, it is the interval of the groups alone
    assert two_way(ratio, row, np.arange(6), 0.95).se == pytest.approx(rows**0.5)
    assert np.isnan(two_way(ratio, row, np.zeros(6, np.int64), 0.95).low)


@pytest.mark.parametrize(("days", "families"), [(3, 12), (15, 12)])
def test_intervals_over_few_days_cover_where_a_days_rows_share_a_shock(days, families):
    """Of 600 intervals of 90 %, at least 507 but once in 100,000 seeds (binomial, −4.5 σ)."""
    rng = np.random.default_rng(4)
    family, day = np.repeat(np.arange(families), days), np.tile(np.arange(days), families)
    hits, alone = 0, 0
    for _ in range(600):
        noise = rng.normal(size=days)[day] + 0.5 * rng.normal(size=families)[family]
        weight = rng.uniform(0.5, 1.5, len(day))
        ratio = [Ratio(weight * (noise + rng.normal(size=len(day))), weight)]
        found = two_way(ratio, family, day, 0.9)
        hits += found.low <= 0 <= found.high
        found = student(ratio, family, 0.9, families - 1)
        alone += found.low <= 0 <= found.high
    assert 507 <= hits <= 573
    assert alone < 400


def test_the_bootstrap_agrees_with_the_delta_method_on_many_rows_and_leans_with_the_skew():
    rng = np.random.default_rng(0)
    symmetric = [Ratio(rng.normal(5, 1, 400), np.ones(400))]
    a = student(symmetric, np.arange(400), 0.9, 399)
    b = bca(symmetric, np.arange(400), 0.9, 0)
    assert (b.low, b.high) == pytest.approx((a.low, a.high), abs=0.02)
    skewed = [Ratio(rng.lognormal(0, 1.5, 60), np.ones(60))]
    c = bca(skewed, np.arange(60), 0.9, 0)
    assert c.high - c.value > 1.2 * (c.value - c.low)
    assert c == bca(skewed, np.arange(60), 0.9, 0)


def test_the_bootstrap_of_a_constant_is_a_point():
    found = bca([Ratio(np.ones(5), np.ones(5))], np.arange(5), 0.9, 0)
    assert (found.low, found.high) == (1, 1)


def test_the_bootstrap_of_one_group_has_no_width_to_tell_of():
    found = bca([Ratio(np.array([1.0, 3.0]), np.ones(2))], np.zeros(2, np.int64), 0.95, 0)
    assert found.value == 2.0
    assert np.isnan([found.se, found.low, found.high]).all()


def test_gains_are_measured_on_the_same_rows():
    logged = log_of()
    found = evaluate(logged, np.tile([0.7, 0.3], (N, 1)), estimators=[InversePropensity()])
    assert found.estimates["ips"].gain.value == pytest.approx(0, abs=1e-12)
    assert found.estimates["ips"].gain.se == pytest.approx(0, abs=1e-12)
    better = evaluate(logged, second()).estimates["snips"]
    assert better.gain.value == pytest.approx(better.value.value - earned(logged).value)
    assert better.gain.low > 0


def test_every_estimator_of_the_registry_is_evaluated_by_either_method():
    logged = log_of()
    predicted = np.tile([1.0, 2.0], (N, 1))
    for method in ("student", "bca"):
        found = evaluate(logged, second(), predicted, method=method)
        assert found.estimates.keys() == ESTIMATORS.keys()
        for estimate in found.estimates.values():
            assert estimate.value.low <= estimate.value.value <= estimate.value.high
            assert bool(estimate.left_out) == (estimate.name in ("dm", "switch-dr", "dr-os"))


@pytest.mark.statistical
@pytest.mark.parametrize("groups", [1, 4])
def test_intervals_cover_as_often_as_they_say(groups):
    """Of 600 intervals of 90 %, 507 to 573 cover but once in 100,000 seeds (binomial, ± 4.5 σ),
    also where rows come in groups that share their draw and much of their noise."""
    rng = np.random.default_rng(3)
    hits = dict.fromkeys(("ips", "snips", "dr"), 0)
    asked = [ESTIMATORS[name] for name in hits]
    for _ in range(600):
        draws = rng.random(150) < 0.3
        noise = np.repeat(rng.normal(size=150), groups) + 0.3 * rng.normal(size=150 * groups)
        action = np.repeat(draws, groups).astype(np.int64)
        chance = np.tile([0.7, 0.3], (len(action), 1))
        logged = Logged(
            action, action + 1.0 + noise, chance[np.arange(len(action)), action], 2, chance,
            group=np.repeat(np.arange(150), groups),
        )  # fmt: skip
        predicted = np.tile([1.0, 1.5], (len(action), 1))
        found = evaluate(
            logged, second(len(action)), predicted, estimators=asked, level=0.9,
            demands=Demands(effective=5),
        )  # fmt: skip
        for name, estimate in found.estimates.items():
            hits[name] += estimate.value.low <= 2.0 <= estimate.value.high
    assert all(507 <= hit <= 573 for hit in hits.values()), hits


def test_heavy_weights_that_were_not_drawn_are_no_fault_of_the_log():
    # the target's arm had one chance in a thousand in a third of the rows, and was not drawn there
    n = 300
    propensities = np.tile([0.5, 0.5], (n, 1))
    propensities[::3] = [0.999, 0.001]
    action = np.arange(n) % 2
    action[::3] = 0
    target = np.tile([0.0, 1.0], (n, 1))
    reward = np.ones(n)
    propensity = propensities[np.arange(n), action]
    logged = Logged(action, reward, propensity, 2, propensities=propensities)
    found = weigh(logged, target)
    assert found.mean == pytest.approx(2 / 3)
    assert found.mean_se == pytest.approx(np.sqrt(100 * 999 + 200) / n)
    with pytest.raises(Unanswerable) as refused:
        evaluate(logged, target)
    (reason,) = refused.value.reasons
    assert reason.startswith("33.67% of the target's probability lies on arms that were hardly")
    # without the other arms' propensities nothing says that it was chance
    with pytest.raises(Unanswerable, match="should be 1"):
        evaluate(Logged(action, reward, propensity, 2), target)
    # rows of one draw count as one
    pairs = Logged(action, reward, propensity, 2, propensities, group=np.arange(n) // 3)
    assert weigh(pairs, target).mean_se == pytest.approx(10 * (np.sqrt(999) + 2) / n)


@pytest.mark.parametrize(("chance", "said"), [(1e-6, "hardly ever"), (1e-300, "could not be")])
def test_what_was_as_good_as_never_offered_is_not_estimated(chance, said):
    rng = np.random.default_rng(5)
    n = 3000
    propensities = np.tile([0.6, 0.4 - chance, chance], (n, 1))
    propensities[n // 2 :] = [0.4, 0.3, 0.3]
    action = (propensities.cumsum(1) > rng.random(n)[:, None]).argmax(1)
    propensity = propensities[np.arange(n), action]
    logged = Logged(action, rng.random(n), propensity, 3, propensities)
    with pytest.raises(Unanswerable, match=rf"^10\.\d\d% of the target's .* {said}"):
        evaluate(logged, np.tile([0.4, 0.4, 0.2], (n, 1)))
    if chance > 1e-300:
        # predictions tell of it, and it is said that nothing else does
        found = evaluate(logged, np.tile([0.4, 0.4, 0.2], (n, 1)), np.full((n, 3), 0.5))
        assert "ips" not in found.estimates
        assert "snips" not in found.estimates
        assert "10.0% of the target's" in found.estimates["dr"].left_out
    offered = np.tile([0.4, 0.6, 0.0], (n, 1))
    assert evaluate(logged, offered).weights.rare < 0.01
    # a share so small that it does not show beside the noise is no reason to say nothing
    little = np.tile([0.4, 0.59, 0.01], (n, 1))
    if chance > 1e-300:
        assert evaluate(logged, little).weights.rare == pytest.approx(0.005, abs=0.001)
