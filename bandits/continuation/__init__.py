"""Learners of what a price leaves for later: stock, days, remembered prices."""

from bandits.continuation.actor_critic import ActorCritic, ActorCriticSettings
from bandits.continuation.deep_q import DeepQ, DeepQSettings
from bandits.continuation.learner import Learner, practise
from bandits.continuation.replay import Replay, Sample
from bandits.continuation.season import Transitions, play
from bandits.continuation.states import FEATURES, Belief, States

__all__ = [
    "FEATURES",
    "ActorCritic",
    "ActorCriticSettings",
    "Belief",
    "DeepQ",
    "DeepQSettings",
    "Learner",
    "Replay",
    "Sample",
    "States",
    "Transitions",
    "play",
    "practise",
]
