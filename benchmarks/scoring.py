"""A catalogue scored at once: listings × arms × features by one call of the head's `choose`.

Run: OMP_NUM_THREADS=1 python benchmarks/scoring.py [--device cpu|cuda] [--listings 1000000]
Features are made on the device, float32, before the clock starts. The device's own ceilings (a
square product and a copy, float32, no reduced precision) are measured in the same run. Needed work:
2 d² operations a row for the widths and 2 d for the means, and every feature read once. The CPU's
triangular product takes half of them, so its share of the ceiling may exceed 100 %.
"""

import argparse
import time
from collections.abc import Callable

import numpy as np
import torch

from bandits.linucb import LinearUCB

ALPHA, ROUNDS, SAMPLE = 0.3, 7, 4096


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Median over rounds of the device's time for `work`, after two that do not count."""
    found = []
    for i in range(ROUNDS + 2):
        if device.type == "cuda":
            begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            torch.cuda.synchronize()
            begin.record()
            work()
            end.record()
            torch.cuda.synchronize()
            spent = begin.elapsed_time(end) / 1e3
        else:
            start = time.process_time()
            work()
            spent = time.process_time() - start
        if i >= 2:
            found.append(spent)
    return float(np.median(found))


def ceilings(device: torch.device) -> tuple[float, float]:
    """FLOP/s of a float32 product, and bytes/s read and written by a copy."""
    side = 8192 if device.type == "cuda" else 1024
    a, b = torch.randn(2, side, side, device=device)
    out = torch.empty_like(a)
    flop = 2 * side**3 / seconds(lambda: torch.mm(a, b, out=out), device)
    source = torch.empty(2**30 if device.type == "cuda" else 2**25, device=device)
    target = torch.empty_like(source)
    copied = 2 * source.nbytes / seconds(lambda: target.copy_(source), device)
    return flop, copied


def taught(dim: int, device: torch.device, dtype: torch.dtype) -> LinearUCB:
    """A head that has seen 10,000 seeded rows, the same on every device."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(10_000, dim)), rng.normal(size=10_000)
    head = LinearUCB(dim, device=device, dtype=dtype)
    head.update(torch.from_numpy(x), torch.from_numpy(y))
    return head


def agreement(x: torch.Tensor, arms: torch.Tensor) -> tuple[float, float]:
    """Share of arms that float64 on the CPU chooses too, and the most that another one forgoes."""
    scores = taught(x.shape[2], torch.device("cpu"), torch.float64).score(x)
    wanted = scores.mean + ALPHA * scores.width
    got = wanted.gather(1, arms.cpu()[:, None])[:, 0]
    forgone = float((wanted.amax(1) - got).max())
    return float((wanted.argmax(1) == arms.cpu()).double().mean()), forgone


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--listings", type=int, default=1_000_000)
    parser.add_argument("--arms", type=int, default=16)
    parser.add_argument("--dim", type=int, default=128)
    given = parser.parse_args()
    torch.set_num_threads(1)
    device, n, k, d = torch.device(given.device), given.listings, given.arms, given.dim
    torch.backends.cuda.matmul.allow_tf32 = False
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU, one thread"
    flop_ceiling, byte_ceiling = ceilings(device)
    head = taught(d, device, torch.float32)
    draw = torch.Generator(device=device).manual_seed(1)
    x = torch.randn(n, k, d, device=device, generator=draw)
    spent = seconds(lambda: head.choose(x, ALPHA), device)
    arms = head.choose(x, ALPHA)
    flop, read = n * k * (2 * d * d + 2 * d), x.nbytes
    print(f"{name}: {n:,} listings × {k} arms × {d} features, {read / 1e9:.2f} GB")
    print(f"ceilings: {flop_ceiling / 1e12:.3f} TFLOP/s, {byte_ceiling / 1e9:.1f} GB/s")
    print(
        f"one call: {spent * 1e3:.1f} ms, {n / spent:,.0f} decisions/s, {n * k / spent:,.0f} arms/s"
    )
    print(
        f"{flop / spent / 1e12:.3f} TFLOP/s of {flop / 1e12:.3f} TFLOP needed: "
        f"{flop / spent / flop_ceiling:.0%} of the product's ceiling; "
        f"{read / spent / 1e9:.1f} GB/s read: {read / spent / byte_ceiling:.0%} of the copy's"
    )
    same, forgone = agreement(x[:SAMPLE], arms[:SAMPLE])
    print(
        f"same arm as float64 on the CPU: {same:.4%} of {min(n, SAMPLE):,}; forgone ≤ {forgone:.1e}"
    )
    if forgone > 1e-4:
        raise SystemExit("the arms chosen are not the best ones within 1e-4")


if __name__ == "__main__":
    main()
