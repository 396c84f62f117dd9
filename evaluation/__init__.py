"""Judging policies: off-policy estimators, A/B tests, and the benchmark."""
