"""Flows of zuko 1.6.0 and nflows 0.14 beside genlab's, of equal nets, for ``scripts/bench flows``.

Points of the plane and 64 numbers, five layers each: masked auto-regressive flow, affine couplings and spline
couplings, with two hidden layers of 64 features, and so as many parameters in all three. Steps are those of one and the
same loop (Adam, fused; batches of 256), densities and samples are of 1000 examples without gradients. Samples are
carried from the base's noise to the data; ``seeded`` is ``sample`` of genlab with 1000 streams of noise, of which each
sample depends on one alone, for which the others have nothing.

The libraries live in a folder of their own, so that they disturb no other version; ``GENLAB_FLOWS`` names it:

    pip install --no-deps --target .venv/flows zuko==1.6.0 nflows==0.14 umnn
"""

from __future__ import annotations

import os
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from plain_games import clock
from torch import Tensor, nn

from genlab.bijections.base import Bijection
from genlab.bijections.chain import Chain
from genlab.bijections.coupling import Coupling, halve
from genlab.bijections.masked_autoregressive import MaskedAutoregressive
from genlab.bijections.permute import Permute
from genlab.bijections.rational_quadratic import RationalQuadratic
from genlab.bijections.shift_and_scale import ShiftAndScale
from genlab.data.digits import Digits
from genlab.data.planar import Moons
from genlab.models.flow.conditioner import MLPConditioner
from genlab.models.flow.flow import Flow
from genlab.models.flow.standard_normal import StandardNormal
from genlab.noise import Noise
from genlab.spec import Spec, dequantize

LAYERS, WIDTHS, BINS, BATCH, MANY = 5, (64, 64), 8, 256, 1000
FOLDER = Path(os.environ.get("GENLAB_FLOWS", Path(__file__).resolve().parent.parent / ".venv" / "flows"))


class Contender(NamedTuple):
    """A flow, and what is asked of it: log p(x), (B,), and samples from base noise, (B, D) each."""

    net: nn.Module
    log_prob: Callable[[Tensor], Tensor]
    decode: Callable[[Tensor], Tensor]


def of_genlab(kind: str, D: int) -> Contender:
    steps: list[Bijection] = [] if kind == "maf" else [Permute([*range(0, D, 2), *range(1, D, 2)])]
    for layer in range(LAYERS):
        odd = bool(layer % 2)
        if kind == "maf":
            steps.append(MaskedAutoregressive(D, ShiftAndScale(), WIDTHS, order=range(D)[:: -1 if odd else 1]))
            continue
        monotone = ShiftAndScale() if kind == "coupling" else RationalQuadratic(BINS)
        kept, changed = halve(D, odd)
        net = MLPConditioner((kept,), WIDTHS[0], len(WIDTHS), outputs=monotone.parameters * changed)
        steps.append(Coupling(net, monotone, odd))
    flow = Flow(Chain(steps), StandardNormal(D), Spec("vector", (D,)))
    return Contender(flow, flow.log_prob, flow.decode)


def of_zuko(kind: str, D: int) -> Contender:
    import zuko
    from zuko.flows.coupling import GeneralCouplingTransform
    from zuko.transforms import MonotonicRQSTransform

    if kind == "maf":
        flow = zuko.flows.MAF(D, transforms=LAYERS, hidden_features=WIDTHS)
    elif kind == "coupling":
        flow = zuko.flows.RealNVP(D, transforms=LAYERS, hidden_features=WIDTHS)
    else:
        flow = zuko.flows.Flow(
            [
                GeneralCouplingTransform(
                    D,
                    mask=torch.arange(D) % 2 == layer % 2,
                    univariate=MonotonicRQSTransform,
                    shapes=[(BINS,), (BINS,), (BINS - 1,)],
                    hidden_features=WIDTHS,
                )
                for layer in range(LAYERS)
            ],
            zuko.flows.UnconditionalDistribution(
                zuko.distributions.DiagNormal, torch.zeros(D), torch.ones(D), buffer=True
            ),
        )
    return Contender(flow, lambda x: flow().log_prob(x), lambda z: flow().transform.inv(z))


def of_nflows(kind: str, D: int) -> Contender:
    from nflows.distributions.normal import StandardNormal
    from nflows.flows.base import Flow as Whole
    from nflows.nn.nets import MLP
    from nflows.transforms import (
        AffineCouplingTransform,
        CompositeTransform,
        MaskedAffineAutoregressiveTransform,
        PiecewiseRationalQuadraticCouplingTransform,
        ReversePermutation,
    )

    class Net(MLP):
        def __init__(self, inputs: int, outputs: int):
            super().__init__([inputs], [outputs], list(WIDTHS))

        def forward(self, x: Tensor, context: None = None) -> Tensor:
            return super().forward(x)

    layers: list[nn.Module] = []
    for layer in range(LAYERS):
        mask = torch.arange(D) % 2 == layer % 2
        if kind == "maf":
            layers.append(
                MaskedAffineAutoregressiveTransform(D, WIDTHS[0], num_blocks=len(WIDTHS) - 1, use_residual_blocks=False)
            )
            layers.append(ReversePermutation(D))
        elif kind == "coupling":
            layers.append(AffineCouplingTransform(mask, Net))
        else:
            spline = PiecewiseRationalQuadraticCouplingTransform
            layers.append(spline(mask, Net, num_bins=BINS, tails="linear", tail_bound=4.0))
    flow = Whole(CompositeTransform(layers), StandardNormal([D]))
    return Contender(flow, flow.log_prob, lambda z: flow._transform.inverse(z)[0])


LIBRARIES = {"genlab": of_genlab, "zuko": of_zuko, "nflows": of_nflows}
KINDS = ("maf", "coupling", "spline")
COLUMNS = ("steps/s", "log_prob/s", "samples/s")


def timed(action: Callable[[], Any], seconds: float) -> float:
    """Calls in a second that the process was at work."""
    calls, start = 0, clock()
    while (spent := clock() - start)[1] < seconds or calls == 0:
        action()
        calls += 1
    return calls / spent[1]


def rates(one: Contender, x: Tensor, seconds: float) -> list[float]:
    """Steps, densities and samples a second."""
    optimizer = torch.optim.Adam(one.net.parameters(), lr=1e-4, fused=True)
    batch, many, noise = x[:BATCH], x[:MANY], torch.randn(MANY, x.shape[1])

    def step() -> None:
        (-one.log_prob(batch).mean()).backward()
        optimizer.step()
        optimizer.zero_grad()

    one.net.train()
    step()
    found = [timed(step, seconds)]
    one.net.eval()
    with torch.no_grad():
        one.log_prob(many), one.decode(noise)
        found.append(MANY * timed(lambda: one.log_prob(many), seconds))
        found.append(MANY * timed(lambda: one.decode(noise), seconds))
    return found


def check(one: Contender, x: Tensor) -> None:
    """That what is timed is an invertible flow, and the same of all: samples of the codes' noise are finite."""
    with torch.no_grad():
        assert one.log_prob(x[:8]).shape == (8,) and one.decode(torch.randn(8, x.shape[1])).isfinite().all()


def compare(name: str, x: Tensor, rounds: int, seconds: float) -> None:
    """A row for each kind of flow: rates of genlab, and their ratios to the others', medians and ranges of rounds."""
    sys.path.append(str(FOLDER))
    for kind in KINDS:
        torch.manual_seed(0)
        contenders = {library: make(kind, x.shape[1]) for library, make in LIBRARIES.items()}
        found: dict[str, list[list[float]]] = {library: [] for library in contenders}
        for one in contenders.values():
            check(one, x)
        for turn in range(rounds):
            order = list(contenders)[turn % len(contenders) :] + list(contenders)[: turn % len(contenders)]
            for library in order:
                found[library].append(rates(contenders[library], x, seconds))
        cells = []
        for column, title in enumerate(COLUMNS):
            mine = [row[column] for row in found["genlab"]]
            cell = f"{title} {statistics.median(mine):.4g}"
            for library in ("zuko", "nflows"):
                ratios = [a / row[column] for a, row in zip(mine, found[library], strict=True)]
                cell += f", {library} x {statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
            cells.append(cell)
        flow: Any = contenders["genlab"].net
        counts = ", ".join(f"{sum(p.numel() for p in one.net.parameters())}" for one in contenders.values())
        print(
            f"{name} {kind}: {'; '.join(cells)}; seeded {seeded(flow, seconds):.4g} samples/s; parameters {counts}",
            flush=True,
        )


def seeded(flow: Flow, seconds: float) -> float:
    """Samples a second of streams of their own."""
    with torch.no_grad():
        return MANY * timed(lambda: flow.sample(Noise(range(MANY))), seconds)


def main(rounds: int, seconds: float) -> None:
    """Rows for two half moons, and for digits as 64 numbers: their levels with uniform noise, to [-1, 1]."""
    if not (FOLDER / "zuko").is_dir():
        sys.exit(f"flows: no zuko in {FOLDER}; scripts/other_flows.py says how to get it")
    torch.manual_seed(0)
    digits = Digits().split("train").x.flatten(1)
    for name, x in (
        ("moons", Moons().split("train").x[:MANY]),
        ("digits", dequantize(digits, 17, torch.rand(digits.shape))[:MANY] * 2 - 1),
    ):
        compare(name, x, rounds, seconds)
