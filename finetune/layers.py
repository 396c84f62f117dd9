"""The transformer's layers: which are adapted, and how the frozen ones below are skipped."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

_HIDDEN = "hidden_states"  # what transformers' layers call their input


class NotATransformer(ValueError):
    """A model without a stack of like layers, which is what an adapter goes into."""


class _Enough(Exception):
    """Stops a forward pass once what was wanted of it is there."""


def stack_of(model: nn.Module) -> tuple[str, nn.ModuleList]:
    """Name and layers of the model's longest stack of modules of one class.

    Raises:
        NotATransformer: it has none.
    """
    stacks = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, nn.ModuleList)
        and len(module) > 1
        and len({type(layer) for layer in module}) == 1
    ]
    if not stacks:
        raise NotATransformer(
            f"{type(model).__name__} has no stack of transformer layers to adapt: "
            "give another base model"
        )
    return max(stacks, key=lambda found: len(found[1]))


def adapted_modules(model: nn.Module, layers: int, names: Sequence[str]) -> list[str]:
    """Full names of the linear modules in the layers that are adapted.

    Args:
        layers: the topmost so many; 0: all; below 0: all but so many lowest.
        names: keep those whose last part is among these; empty: keep all.

    Raises:
        ValueError: more layers than there are, none that is left, or a name that no module has.
    """
    where, stack = stack_of(model)
    count = layers if layers > 0 else len(stack) + layers
    if not 0 < count <= len(stack):
        raise ValueError(
            f"layers is {layers}: the model has {len(stack)}; give 1 to {len(stack)}, 0 for all, "
            f"or -1 to -{len(stack) - 1} for all but so many lowest"
        )
    linear = [
        f"{where}.{i}.{name}"
        for i in range(len(stack) - count, len(stack))
        for name, module in stack[i].named_modules()
        if isinstance(module, nn.Linear)
    ]
    last = {name.rsplit(".", 1)[-1] for name in linear}
    if unknown := set(names) - last:
        raise ValueError(
            f"modules: none is called {', '.join(sorted(unknown))}; "
            f"choose among {', '.join(sorted(last))}"
        )
    return [name for name in linear if not names or name.rsplit(".", 1)[-1] in names]


class FrozenBelow:
    """The layers under the lowest that is trained: run once for a text, then skipped.

    Args:
        model: the transformer with its adapter.

    Attributes:
        count: layers that are frozen; 0 where the lowest is trained, and only word vectors are.
    """

    def __init__(self, model: nn.Module) -> None:
        _, self._stack = stack_of(model)
        trained = [any(p.requires_grad for p in layer.parameters()) for layer in self._stack]
        self.count = trained.index(True) if any(trained) else 0
        self._beside: tuple[Any, ...] | None = None  # of a layer's answer, where it is a tuple

    def output(self, model: nn.Module, features: dict[str, Tensor]) -> Tensor:
        """What the frozen layers make of tokens, their word vectors if none is: (b, tokens, h)."""
        seen: list[Tensor] = []

        def catch(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            seen.append(args[0] if args else kwargs[_HIDDEN])
            raise _Enough

        def heed(_: nn.Module, __: tuple[Any, ...], answer: Any) -> None:
            self._beside = answer[1:] if isinstance(answer, tuple) else None

        hooks = [
            self._stack[self.count].register_forward_pre_hook(catch, with_kwargs=True),
            self._stack[0].register_forward_hook(heed),
        ]
        try:
            model(features)
        except _Enough:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        return seen[0]

    @contextmanager
    def replaced(self, hidden: Tensor) -> Iterator[None]:
        """Inside, a forward pass takes `hidden` (b, tokens, h), of `output`, for what the frozen
        layers say.
        """

        def give(
            _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            return ((hidden, *args[1:]), kwargs) if args else ((), kwargs | {_HIDDEN: hidden})

        # a layer that answers with more than its output (T5's with what all take for positions)
        # is run, for what it says beside
        alone = all(other is None for other in self._beside or ())
        frozen = [self._stack[i] for i in range(self.count if alone else 0)]
        hook = self._stack[self.count].register_forward_pre_hook(give, with_kwargs=True)
        for i, layer in enumerate(frozen):
            self._stack[i] = _Skipped(layer, self._beside)
        try:
            yield
        finally:
            hook.remove()
            for i, layer in enumerate(frozen):
                self._stack[i] = layer


class _Skipped(nn.Module):
    """Lets through what comes in, for a layer, of which some models ask more than to be run.

    Args:
        beside: what follows its output in the layer's answer; None where that is no tuple.
    """

    def __init__(self, layer: nn.Module, beside: tuple[Any, ...] | None) -> None:
        super().__init__()
        self._layer, self._beside = (layer,), beside  # no module of this one

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self._layer[0], name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        hidden = args[0] if args else kwargs[_HIDDEN]
        return hidden if self._beside is None else (hidden, *self._beside)
