import pytest

from finetune import Recipe


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"rank": 0}, "rank is 0: give at least 1"),
        ({"epochs": 0}, "epochs is 0: give at least 1"),
        ({"seed": 10**20}, r"seed is 100000000000000000000: give a number below 2\^63"),
        ({"alpha": 0.0}, "alpha is 0.0: give a number above 0"),
        ({"init_share": 0.0}, "init_share is 0.0: give a share above 0"),
        ({"init_share": 1.5}, "init_share is 1.5: .* at most 1"),
        ({"learning_rate": float("nan")}, "learning_rate is nan: give a number above 0"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1: give 0 or more"),
        ({"alpha": float("inf")}, "alpha is inf: give a number above 0, and finite"),
        ({"meaning": float("inf")}, "meaning is inf: give 0 or more, and finite"),
        ({"held_out": 1.0}, "held_out is 1.0: give a share of at least 0, below 1"),
        ({"head": 0.0, "neighbours": 0.0}, "nothing would be learned"),
        ({"batch": 16, "accumulate": 4}, "fewer than 8 products each"),
    ],
)
def test_a_wrong_choice_is_named_with_its_value_and_the_fix(wrong, said):
    with pytest.raises(ValueError, match=said):
        Recipe(**wrong)
