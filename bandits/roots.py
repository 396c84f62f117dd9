"""One ridge regression on the CPU: solved once, then renewed row by row, in numpy and BLAS.

For ten rows torch spends three times as long on its calls as on their arithmetic.
"""

import math
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.blas import dger, dtrmm, strmm
from scipy.linalg.lapack import dpotrs, dtrtri

Floats = NDArray[np.float32] | NDArray[np.float64]
Exact = NDArray[np.float64]

STEPS = 512
"""Rows by which a solution may be renewed before it is solved for again: rounding adds up."""

_MANY = 4
"""Rows in units of d from which it pays to have a triangular root."""

_BLOCK = 2560
"""Rows whitened at a time: their image still lies in the processor's cache when it is summed."""


class Solution:
    r"""θ̂ and a square root R of A⁻¹ = R Rᵀ, for A = λ I + gram and b = λ θ₀ + moment.

    Formula: a row x with target y and weight w renews both in O(d²). With z = Rᵀ x, s = w zᵀ z,

        R ← R − β (R z) zᵀ,   β = w / (1 + s + sqrt(1 + s)),
        θ̂ ← θ̂ + w (y − xᵀ θ̂) R z / (1 + s).

    R Rᵀ stays positive definite whatever is rounded, unlike A⁻¹ itself under Sherman-Morrison.

    Args:
        gram: Σ w x xᵀ, (d, d), C-contiguous. moment: Σ w x y, (d,). Both are added to in place.
        ridge: λ. prior_mean: θ₀, (d,).
        dtype: type in which rows are measured.

    References:
        Bierman 1977, "Factorization Methods for Discrete Sequential Estimation", chapter II
        (Potter's measurement update).
    """

    def __init__(
        self, gram: Exact, moment: Exact, *, ridge: float, prior_mean: Exact, dtype: np.dtype
    ) -> None:
        self.gram, self.moment, self.ridge, self.dtype = gram, moment, ridge, dtype
        self._prior = ridge * prior_mean
        self._cast_root: Floats = np.empty_like(gram, dtype)
        self._solve()

    def _solve(self) -> None:
        """Solve for θ̂; whatever else is wanted follows from its factor."""
        self.steps = 0
        self._lower: Exact | None = None  # L, with A = L Lᵀ
        self._root: Exact | None = None
        self.theta: Exact = dpotrs(self._factor(), self.moment + self._prior, lower=1)[0]
        self._theta: Floats = self.theta.astype(self.dtype)

    def _factor(self) -> Exact:
        if self._lower is None:
            self._lower = cholesky(self.gram, self.ridge)
        return self._lower

    def add(self, x: Exact, y: float, weight: float) -> None:
        """Add one row x (d,) with its target to the statistics, to R and to θ̂."""
        root = self.root()
        z = x.dot(root)
        gain = root.dot(z)
        s = weight * float(z.dot(z))
        # dger adds to the transpose: the memory of a C-contiguous matrix in the order BLAS wants
        dger(weight, x, x, a=self.gram.T, overwrite_a=1)
        dger(-weight / (1 + s + math.sqrt(1 + s)), z, gain, a=root.T, overwrite_a=1)
        self.moment += (weight * y) * x
        self.theta += (weight * (y - float(x.dot(self.theta))) / (1 + s)) * gain
        self._cast_root[:] = root
        self._theta[:] = self.theta
        self._lower = None
        self.steps += 1

    def root(self) -> Exact:
        """R, (d, d): L⁻ᵀ, or what single rows have made of it since."""
        if self._root is None:
            self._root = np.ascontiguousarray(dtrtri(self._factor().T)[0])
            self._cast_root[:] = self._root
        return self._root

    def settle(self) -> None:
        """Solve anew where single rows have renewed the solution; R is then there, too."""
        if self.steps:
            self._solve()
        self.root()

    def measure(self, x: Floats) -> tuple[Floats, Floats]:
        """xᵀ θ̂ and sqrt(xᵀ A⁻¹ x) of rows (n, d) of this dtype, each (n,)."""
        if len(x) >= _MANY * x.shape[1]:
            self.settle()
            return x.dot(self._theta), self._whitened_norms(x)
        self.root()
        seen = x.dot(self._cast_root)
        return x.dot(self._theta), np.sqrt(np.vecdot(seen, seen))

    def _whitened_norms(self, x: Floats) -> Floats:
        """|L⁻¹ x| of rows (n, d): a triangular root takes half the operations of another."""
        multiply = strmm if self.dtype == np.float32 else dtrmm
        norms: Floats = np.empty(len(x), self.dtype)
        for i in range(0, len(x), _BLOCK):
            rows = x[i : i + _BLOCK]
            seen = multiply(1.0, self._cast_root.T, rows.T, lower=1).T  # (block, d)
            np.vecdot(seen, seen, out=norms[i : i + _BLOCK])
        return np.sqrt(norms, out=norms)


def cholesky(gram: Exact, ridge: float) -> Exact:
    """Cholesky factor of gram + ridge · I, (d, d), with no more ridge than rounding asks for.

    A gram is rounded to ε = 2⁻⁵² of its largest entry ever. Where that is more than the ridge, a
    factor may not exist: ε · Σ |gram| is added to the ridge, and ten times as much until one does,
    for entries may have been larger before something was taken back.

    Raises:
        LinAlgError: the gram is not finite.
    """
    more = np.finfo(np.float64).eps * np.abs(gram).sum()
    for extra in (0.0, *(more * 10.0 ** np.arange(16))):
        a = gram.copy()
        np.einsum("ii->i", a)[:] += ridge + extra
        with suppress(np.linalg.LinAlgError):
            return np.linalg.cholesky(a).astype(np.float64, copy=False)
    raise np.linalg.LinAlgError("statistics are not finite")
