"""f-GAN: six bounds against the divergences of two Gaussians, by closed forms where there are any and by quadrature."""

import math

import pytest
import torch
import yaml
from torch import nn
from torch.nn.functional import softplus

from genlab.losses.fgan import KL, STEEPEST, JensenShannon, OriginalGAN, Pearson, ReverseKL, SquaredHellinger, exp
from genlab.losses.minimax import Minimax
from genlab.losses.non_saturating import NonSaturating
from genlab.presets import conf_folder

LOSSES = {
    "kl": KL,
    "rkl": ReverseKL,
    "pearson": Pearson,
    "hellinger": SquaredHellinger,
    "js": JensenShannon,
    "gan": OriginalGAN,
}
P, Q = (0.0, 1.0), (0.8, 1.2)  # mean and standard deviation of the data and of the generator's examples

# f, and the values v at which g_f(v) = f'(u): the best critic's, of the density ratio u = p / q
F = {
    "kl": lambda u: u * u.log(),
    "rkl": lambda u: -u.log(),
    "pearson": lambda u: (u - 1).square(),
    "hellinger": lambda u: (u.sqrt() - 1).square(),
    "js": lambda u: u * u.log() - (u + 1) * ((u + 1) / 2).log(),
    "gan": lambda u: u * u.log() - (u + 1) * (u + 1).log(),
}
BEST = {
    "kl": lambda log_u: 1 + log_u,
    "rkl": lambda log_u: log_u,
    "pearson": lambda log_u: 2 * (log_u.exp() - 1),
    "hellinger": lambda log_u: log_u / 2,
    "js": lambda log_u: log_u,
    "gan": lambda log_u: log_u,
}


def log_density(x, law):
    mean, std = law
    return -(((x - mean) / std) ** 2) / 2 - math.log(2 * math.pi) / 2 - torch.as_tensor(std, dtype=x.dtype).log()


def log_ratio(x, p=P, q=Q):
    return log_density(x, p) - log_density(x, q)


def quantiles(law, count=200_000):
    """Points that have the law: the middles of ``count`` intervals of equal probability."""
    middles = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return law[0] + law[1] * torch.special.ndtri(middles)


def integral(value, reach=14.0, count=40_001):
    x = torch.linspace(-reach, reach, count, dtype=torch.float64)
    return torch.trapezoid(value(x), x)


def divergence(name, p=P, q=Q):
    """Integral of q f(p / q)."""
    return integral(lambda x: log_density(x, q).exp() * F[name](log_ratio(x, p, q).exp())).item()


def bound(name, values=None, count=200_000):
    """What the best critic, or another, shows of the divergence: minus its loss."""
    values = values or (lambda x: BEST[name](log_ratio(x)))
    return -LOSSES[name]().critic(values(quantiles(P, count)), values(quantiles(Q, count))).item()


@pytest.mark.parametrize("name", LOSSES)
def test_the_best_critic_shows_the_divergence(name):
    assert bound(name) == pytest.approx(divergence(name), abs=1e-3)


def test_the_experiment_compares_with_what_quadrature_gives():
    content = yaml.safe_load((conf_folder() / "experiment" / "fgan_divergences.yaml").read_text())
    exact = content["hydra"]["callbacks"]["curve"]["exact"]["critic_bound"]
    means = [float(mean) for mean in content["hydra"]["sweeper"]["params"]["model.generator.mean"].split(",")]
    q_std, p_law = content["model"]["generator"]["std"], (content["data"]["means"][0], content["data"]["stds"][0])
    assert {name.removeprefix("fgan_") for name in exact} == set(LOSSES)
    for name, values in exact.items():
        found = [divergence(name.removeprefix("fgan_"), p_law, (mean, q_std)) for mean in means]
        assert values == pytest.approx(found, abs=1e-3)


def test_closed_forms():
    """Of two Gaussians, KL both ways, Pearson and Hellinger have one, and the quadrature agrees with it."""
    (m, s), (n, t) = P, Q
    gap, middle = (m - n) ** 2, (s**2 + t**2) / 2
    known = {
        "kl": math.log(t / s) + (s**2 + gap) / (2 * t**2) - 0.5,
        "rkl": math.log(s / t) + (t**2 + gap) / (2 * s**2) - 0.5,
        "pearson": t**2 / (s * math.sqrt(2 * t**2 - s**2)) * math.exp(gap / (2 * t**2 - s**2)) - 1,
        "hellinger": 2 - 2 * math.sqrt(s * t / middle) * math.exp(-gap / (8 * middle)),
    }
    for name, value in known.items():
        assert divergence(name) == pytest.approx(value, abs=1e-9)
        assert bound(name) == pytest.approx(value, abs=1e-3)


def test_the_jensen_shannon_generator_gives_twice_the_divergence():
    mixture = lambda x: torch.logaddexp(log_density(x, P), log_density(x, Q)) - math.log(2)  # noqa: E731
    js = sum(
        integral(lambda x, law=law: log_density(x, law).exp() * (log_density(x, law) - mixture(x))).item() / 2
        for law in (P, Q)
    )
    assert bound("js") == pytest.approx(2 * js, abs=1e-3)
    assert bound("gan") == pytest.approx(2 * js - math.log(4), abs=1e-3)


def test_pearson_is_finite_where_var_p_is_below_twice_var_q():
    """Just below, the bound settles as the quadrature gets finer; above, it grows beyond any number."""

    def shown(std, count):
        law = (0.0, std)
        values = lambda x: BEST["pearson"](log_ratio(x, law, (0.0, 1.0)))  # noqa: E731
        return -Pearson().critic(values(quantiles(law, count)), values(quantiles((0.0, 1.0), count))).item()

    below = 1 / (1.1 * math.sqrt(2 - 1.1**2)) - 1
    assert shown(1.1, 100_000) == pytest.approx(below, abs=1e-3)
    grown = [shown(math.sqrt(2.2), 10**k) for k in (2, 4, 6)]
    assert grown[1] > 1.5 * grown[0] and grown[2] > 1.5 * grown[1]


@pytest.mark.parametrize("name", LOSSES)
def test_no_other_critic_shows_more(name):
    """It is a lower bound: with a bent critic less is shown, and at the best one the slope is zero."""
    size = torch.zeros((), dtype=torch.float64, requires_grad=True)
    bend = lambda x: BEST[name](log_ratio(x)) + size * (2 * x).sin()  # noqa: E731
    loss = LOSSES[name]().critic(bend(quantiles(P, 20_000)), bend(quantiles(Q, 20_000)))
    assert torch.autograd.grad(loss, size)[0].item() == pytest.approx(0, abs=1e-3)
    for amount in (-0.5, 0.2, 1.0):
        assert bound(name, lambda x, a=amount: BEST[name](log_ratio(x)) + a * (2 * x).sin(), 20_000) < bound(name)


@pytest.mark.parametrize("name", LOSSES)
def test_conjugates_are_those_of_the_table(name):
    """f*(t) = sup over u of u t - f(u), at t = g_f(v); g_f rises, and f(1) is 0, of the original GAN -log 4."""
    loss, v = LOSSES[name](), torch.linspace(-3, 3, 25, dtype=torch.float64, requires_grad=True)
    t = loss.output(v)
    u = torch.logspace(-9, 9, 100_001, base=math.e, dtype=torch.float64)
    highest = torch.stack([(u * at - F[name](u)).max() for at in t.detach()])
    if name == "pearson":  # below t = -2 the paper's conjugate is the parabola's, as if u could be negative
        highest = torch.where(t.detach() < -2, t.detach().square() / 4 + t.detach(), highest)
    torch.testing.assert_close(loss.conjugate(v).detach(), highest, atol=1e-6, rtol=1e-5)
    assert (torch.autograd.grad(t.sum(), v)[0] > 0).all()
    assert F[name](torch.ones(1)).item() == pytest.approx(-math.log(4) if name == "gan" else 0, abs=1e-6)


def test_exponentials_go_on_straight_and_smooth():
    v = torch.tensor([-50.0, 0, STEEPEST, STEEPEST + 1, 1e4], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(exp(v).sum(), v)
    expected = v.detach().clamp(max=STEEPEST).exp()
    torch.testing.assert_close(slope, expected)
    torch.testing.assert_close(exp(v).detach(), expected * (1 + (v.detach() - STEEPEST).clamp(min=0)))


def test_the_original_gan_is_minimax_and_its_practical_form_non_saturating():
    real, fake = torch.randn(2, 64, dtype=torch.float64)
    for loss, other in ((OriginalGAN(), Minimax()), (OriginalGAN(practical=True), NonSaturating())):
        torch.testing.assert_close(loss.critic(real, fake), other.critic(real, fake))
        torch.testing.assert_close(loss.generator(fake), other.generator(fake))
    shift = OriginalGAN().critic(real, fake) - JensenShannon().critic(real, fake)
    assert shift.item() == pytest.approx(math.log(4))


@pytest.mark.parametrize("name", LOSSES)
def test_the_generator_at_the_best_critic_descends_the_divergence(name):
    """With G(z) = mean + std z, its gradient is the divergence's own, by autograd on both sides."""
    mean, std = (torch.tensor(number, dtype=torch.float64, requires_grad=True) for number in Q)
    fake = mean + std * quantiles((0.0, 1.0))
    found = torch.autograd.grad(LOSSES[name]().generator(BEST[name](log_ratio(fake))), (mean, std))
    whole = integral(
        lambda x: log_density(x, (mean, std)).exp() * F[name]((log_density(x, P) - log_density(x, (mean, std))).exp())
    )
    for one, other in zip(found, torch.autograd.grad(whole, (mean, std)), strict=True):
        assert one.item() == pytest.approx(other.item(), abs=2e-3)


def test_the_non_saturating_generator_at_the_best_critic_descends_kl_less_2_js():
    """Arjovsky and Bottou 2017, theorem 2.5: the gradient of KL(q || p) - 2 JS(p, q)."""
    mean, std = (torch.tensor(number, dtype=torch.float64, requires_grad=True) for number in Q)
    fake = mean + std * quantiles((0.0, 1.0))
    found = torch.autograd.grad(NonSaturating().generator(log_ratio(fake)), (mean, std))

    def both(x):
        log_p, log_q = log_density(x, P), log_density(x, (mean, std))
        log_m = torch.logaddexp(log_p, log_q) - math.log(2)
        twice_js = log_p.exp() * (log_p - log_m) + log_q.exp() * (log_q - log_m)
        return log_q.exp() * (log_q - log_p) - twice_js

    for one, other in zip(found, torch.autograd.grad(integral(both), (mean, std)), strict=True):
        assert one.item() == pytest.approx(other.item(), abs=1e-3)


class Critics(nn.Module):
    """A small net for each loss, all of them in one pass: (B,) to (losses, B)."""

    def __init__(self, count, width=16):
        super().__init__()
        shapes = [(count, 1, width), (count, width, width), (count, width, 1)]
        self.weights = nn.ParameterList(torch.randn(shape) / shape[1] ** 0.5 for shape in shapes)
        self.biases = nn.ParameterList(torch.zeros(count, 1, shape[2]) for shape in shapes)

    def forward(self, x):
        h = x[None, :, None].expand(len(self.weights[0]), -1, 1)
        for weight, bias in zip(self.weights, self.biases, strict=True):
            h = torch.baddbmm(bias, h if weight is self.weights[0] else softplus(h), weight)
        return h.squeeze(2)


def test_trained_critics_come_within_5_percent():
    """Of the divergences, by nets of 16 units that see samples and never a density; measured on other points."""
    torch.manual_seed(0)
    losses = [LOSSES[name]() for name in LOSSES]
    critics = Critics(len(losses))
    steps = 300
    optimizer = torch.optim.Adam(critics.parameters(), 2e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-2, steps)
    for _ in range(steps):
        real, fake = P[0] + P[1] * torch.randn(256), Q[0] + Q[1] * torch.randn(256)
        values = critics(torch.cat((real, fake)))
        total = sum(loss.critic(*both.chunk(2)) for loss, both in zip(losses, values, strict=True))
        optimizer.zero_grad()
        total.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        on_real, on_fake = (critics(quantiles(law, 20_000).float()) for law in (P, Q))
    for name, loss, real, fake in zip(LOSSES, losses, on_real, on_fake, strict=True):
        exact, shift = divergence(name), math.log(4) if name == "gan" else 0.0
        shown = -loss.critic(real, fake).item()
        assert shown + shift == pytest.approx(exact + shift, rel=0.05), name
        assert shown <= exact + 1e-3
