import pytest
import torch

from bandits import CurveBank
from bandits.curves import DEFAULT_BANK, ELASTICITY_AT_REFERENCE

banks = pytest.mark.parametrize(
    "bank",
    [DEFAULT_BANK, CurveBank(shapes=(0.1, 1.0, 3.0), reach=1.5, locations=7, elasticity=1.3)],
    ids=["default", "small"],
)


def log_demand(bank, log_price):
    return torch.log(bank.demand(log_price))


@banks
def test_demand_is_one_at_the_reference_price(bank):
    demand = bank.demand(bank.offsets)  # (l, s, l): every price under every hypothesis
    at_reference = torch.diagonal(demand, dim1=0, dim2=2)  # (s, l)
    assert at_reference.shape == (len(bank.shapes), bank.locations)
    torch.testing.assert_close(at_reference, torch.ones_like(at_reference), rtol=0, atol=1e-12)


@banks
def test_the_elasticity_at_the_reference_price(bank):
    step = 1e-5
    rise = log_demand(bank, bank.offsets + step) - log_demand(bank, bank.offsets - step)
    elasticity = -torch.diagonal(rise, dim1=0, dim2=2) / (2 * step)
    expected = torch.full_like(elasticity, bank.elasticity)
    torch.testing.assert_close(elasticity, expected, rtol=0, atol=1e-7)


def test_the_default_elasticity_is_two():
    assert DEFAULT_BANK.elasticity == ELASTICITY_AT_REFERENCE == 2.0


@banks
def test_the_elasticity_grows_with_the_price_as_its_shape_says(bank):
    z, step = 0.3, 1e-5
    middle = bank.locations // 2
    prices = bank.offsets[middle] + torch.tensor([z + step, z - step], dtype=torch.float64)
    up, down = log_demand(bank, prices)[:, :, middle]
    expected = bank.elasticity * torch.exp(bank.kappa * z)
    torch.testing.assert_close(-(up - down) / (2 * step), expected, rtol=1e-6, atol=0)


def test_shape_one_is_exponential_demand():
    bank = CurveBank(shapes=(1.0,), reach=1.0, locations=3)
    relative = torch.linspace(0.2, 3.0, 20, dtype=torch.float64)
    found = bank.demand(torch.log(relative))[:, 0, 1]
    torch.testing.assert_close(found, torch.exp(-2.0 * (relative - 1.0)), rtol=1e-12, atol=0)


def test_a_small_shape_is_nearly_constant_elasticity():
    bank = CurveBank(shapes=(1e-6,), reach=1.0, locations=3)
    relative = torch.linspace(0.2, 3.0, 20, dtype=torch.float64)
    found = bank.demand(torch.log(relative))[:, 0, 1]
    torch.testing.assert_close(found, relative**-2.0, rtol=1e-4, atol=0)


@banks
def test_demand_only_falls_with_the_price(bank):
    demand = bank.demand(torch.linspace(-8, 8, 500, dtype=torch.float64))
    assert torch.isfinite(demand).all()
    assert (demand >= 0).all()
    assert (demand.diff(dim=0) <= 0).all()


@banks
def test_a_reference_price_moves_the_curve_and_nothing_else(bank):
    z = torch.tensor([-0.2, 0.0, 0.5], dtype=torch.float64)
    first, last = bank.offsets[0], bank.offsets[-1]
    torch.testing.assert_close(bank.demand(first + z)[:, :, 0], bank.demand(last + z)[:, :, -1])


@banks
def test_sums_of_powers_are_sums_of_log_demand(bank):
    # the statistics keep sums of exp(κ z) alone, whatever the location
    z = torch.tensor([-0.5, 0.1, 0.4], dtype=torch.float64)
    units = torch.tensor([3.0, 1.0, 2.0], dtype=torch.float64)
    powers = (units[:, None] * bank.powers(z)).sum(0)  # (s,)
    slope = (-bank.elasticity / bank.kappa)[:, None]
    from_sums = slope * (bank.shrink() * powers[:, None] - units.sum())
    direct = (units[:, None, None] * log_demand(bank, z)).sum(0)
    real = direct.isfinite()  # a demand of 1e-400 has no logarithm, its sums have
    assert real.float().mean() > 0.9
    torch.testing.assert_close(from_sums[real], direct[real], rtol=1e-9, atol=1e-9)
    assert torch.isfinite(from_sums).all()


def test_the_size_counts_every_hypothesis():
    bank = CurveBank(shapes=(1.0, 2.0, 3.0), locations=5)
    assert bank.size == 15
    assert bank.demand(torch.zeros(4)).shape == (4, 3, 5)
