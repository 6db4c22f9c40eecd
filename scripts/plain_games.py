"""Every game of conf/model as one writes it by hand from its paper, to be compared with: ``scripts/bench games``.

A game is a function of genlab's nets, which are all that it takes from genlab, to what each player minimises on a batch
of scaled examples and their labels, in the order of play; ``train`` is the loop around all of them. As in the papers'
algorithms and in genlab, each turn draws and generates afresh; within a turn nothing is computed twice: features serve
all that is read off them, and real and generated examples go through the critic in one call where it has no batch norm.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy, one_hot, softplus
from torch.nn.utils import parametrizations, parametrize

from genlab.build import later

Losses = dict[str, Callable[..., Tensor]]
Seconds = np.ndarray
Seen = tuple[Tensor, ...]
Rate = Callable[[Seen, Seen], tuple[Tensor, Tensor]]

NETS = ["model.generator.width=32", "model.discriminator.width=32"]
DCGAN = ["model.net=dcgan", *NETS]
JOINT = ["~recipe", "model.net=dcgan", "model.generator.width=32", "model.encoder.width=32",
         "model.discriminator.image.width=32"]  # fmt: skip
ENERGY = ["model.net=dcgan", "model.generator.width=32", "model.discriminator.encoder.width=32",
          "model.discriminator.decoder.width=32"]  # fmt: skip
CASES = {
    "dcgan": NETS,
    "lsgan": NETS,
    "wgan": NETS,
    "sngan": NETS,
    "cgan": DCGAN,
    "pacgan": ["~model.generator.depth", *(f"~model.discriminator.{key}" for key in
               ("depth", "activation", "dropout", "input_dropout")), *DCGAN],
    "unrolled_gan": ["~model.generator.depth", "~model.discriminator.depth", "model.discriminator.norm=null", *DCGAN],
    "mad_gan": DCGAN,
    "infogan": DCGAN,
    "acgan": DCGAN,
    "ssl_gan": ["data.labelled=4000", "model.discriminator.norm=null", *DCGAN],
    "ebgan": ENERGY,
    "began": ["model.discriminator.encoder.norm=null", "model.discriminator.decoder.norm=null", *ENERGY],
    "vae_gan": ["model.encoder.width=32", *DCGAN],
    "bigan": JOINT,
    "ali": JOINT,
    "veegan": [word for word in JOINT if word != "~recipe"],
    "hali": ["model.generator.width=32", "model.encoder.width=32", "model.discriminator.between.width=32"],
    "latent_regressor": ["model.encoder.width=32", *DCGAN],
    "posthoc_ali": ["model.judge.width=32", *JOINT[1:]],
}  # fmt: skip


def clock() -> Seconds:
    """Seconds gone by, and those in which the process was at work, from some point on."""
    return np.array((time.perf_counter(), time.process_time()))


class Averaged:
    """Weight average and the look for NaN, as one writes them by hand."""

    def __init__(self, parameters: Iterable[Tensor]):
        self.live = list(parameters)
        self.shadow = [parameter.detach().clone() for parameter in self.live]
        self.losses: list[Tensor] = []

    @torch.no_grad()
    def step(self, step: int, *losses: Tensor) -> None:
        torch._foreach_lerp_(self.shadow, self.live, 1 - min(0.999, (1 + step) / (10 + step)))
        self.losses += losses
        if step % 50 == 0:
            if not torch.stack(self.losses).isfinite().all():
                raise FloatingPointError
            self.losses.clear()


def train(game: str, model: Any, config: dict[str, Any], x: Tensor, y: Tensor, steps: int) -> Seconds:
    """What so many steps take: the critic's turns, then one turn of each other player."""
    losses = GAMES[game](model)
    players = {name: [p for net in nets for p in net.parameters()] for name, nets in model.players().items()}
    options = config["training"].get("players") or {}
    optimizers = {name: later(config["optimizer"])(own, **options.get(name, {})) for name, own in players.items()}
    averaged = Averaged(p for name in getattr(model, "averaged", [list(players)[-1]]) for p in players[name])
    known, batch = (y >= 0).nonzero().flatten(), config["trainer"]["batch_size"]

    def examples() -> list[Tensor]:
        rows = [torch.randint(len(x), (batch,))]
        if len(known) < len(y):
            rows.append(known[torch.randint(len(known), (batch,))])
        return [part for row in rows for part in (x[row].float().mul_(2 / 255).sub_(1), y[row])]

    def turn(player: str, *given: Tensor) -> None:
        others = [p for name, own in players.items() if name != player != "critic" for p in own]
        for p in others:
            p.requires_grad_(False)
        loss = losses[player](*given)
        loss.backward()
        for p in others:
            p.requires_grad_(True)
        optimizers[player].step()
        optimizers[player].zero_grad()
        averaged.losses.append(loss.detach())

    start = clock()
    for step in range(1, steps + 1):
        for _ in range(config["training"]["critic_steps"]):
            given = examples()
            turn("critic", *given)
            if game == "wgan":
                with torch.no_grad():
                    torch._foreach_clamp_min_(players["critic"], -0.01)
                    torch._foreach_clamp_max_(players["critic"], 0.01)
        for player in list(players)[1:]:
            turn(player, *given)
        averaged.step(step)
    return clock() - start


def rating(net: Callable[..., Tensor], of: nn.Module) -> Rate:
    """What ``net`` says of real and of generated things, in one call unless ``of`` has a batch norm."""
    if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in of.modules()):
        return lambda real, fake: (net(*real), net(*fake))

    def together(real: Seen, fake: Seen) -> tuple[Tensor, Tensor]:
        both = net(*map(torch.cat, zip(real, fake, strict=True)))
        return both[: len(real[0])], both[len(real[0]) :]

    return together


def logistic(real: Tensor, fake: Tensor) -> Tensor:
    """-log D(x) - log(1 - D(G(z)))."""
    return softplus(-real).mean() + softplus(fake).mean()


def versus(
    model: Any, judge: Callable[[Tensor, Tensor], Tensor], fool: Callable[[Tensor], Tensor], net: Any = None
) -> Losses:
    """One generator against one critic, by what each minimises of the critic's values."""
    net = net or model.critic.net
    rate = rating(net, model.critic)

    def critic(x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            fake = model.generator(torch.randn(len(x), model.latent))
        return judge(*rate((x,), (fake,)))

    def generator(x: Tensor, y: Tensor) -> Tensor:
        return fool(net(model.generator(torch.randn(len(x), model.latent))))

    return {"critic": critic, "generator": generator}


def dcgan(model: Any) -> Losses:
    return versus(model, logistic, lambda fake: softplus(-fake).mean())


def pacgan(model: Any) -> Losses:
    return versus(
        model,
        logistic,
        lambda fake: softplus(-fake).mean(),
        lambda x: model.critic.net(x.reshape(-1, 2 * x.shape[1], *x.shape[2:])),
    )


def lsgan(model: Any) -> Losses:
    return versus(
        model,
        lambda real, fake: ((real - 1).square().mean() + fake.square().mean()) / 2,
        lambda fake: (fake - 1).square().mean() / 2,
    )


def wgan(model: Any) -> Losses:
    return versus(model, lambda real, fake: fake.mean() - real.mean(), lambda fake: -fake.mean())


def sngan(model: Any) -> Losses:
    for layer in [part for part in model.critic.modules() if isinstance(part, nn.Linear | nn.Conv2d)]:
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
        parametrizations.spectral_norm(layer)
    return versus(
        model, lambda real, fake: (1 - real).relu().mean() + (1 + fake).relu().mean(), lambda fake: -fake.mean()
    )


def energy(model: Any, power: int) -> Callable[[Tensor], Tensor]:
    encoder, decoder = model.critic.net.encoder, model.critic.net.decoder
    return lambda x: (decoder(encoder(x)) - x).flatten(1).abs().pow(power).mean(1)


def ebgan(model: Any) -> Losses:
    return versus(
        model, lambda real, fake: real.mean() + (0.2 - fake).relu().mean(), lambda fake: fake.mean(), energy(model, 2)
    )


def began(model: Any) -> Losses:
    k = torch.zeros(())

    def judge(real: Tensor, fake: Tensor) -> Tensor:
        real, fake = real.mean(), fake.mean()
        loss = real - k.clone() * fake
        k.add_(1e-3 * (0.5 * real.detach() - fake.detach())).clamp_(0, 1)
        return loss

    return versus(model, judge, lambda fake: fake.mean(), energy(model, 1))


def cgan(model: Any) -> Losses:
    make, net = model.generator, model.critic.net

    def critic(x: Tensor, y: Tensor) -> Tensor:
        given = one_hot(y, 10).float()
        with torch.no_grad():
            fake = make(torch.randn(len(x), model.latent), given)
        return logistic(*net(torch.cat((x, fake)), torch.cat((given, given))).chunk(2))

    def generator(x: Tensor, y: Tensor) -> Tensor:
        given = one_hot(y, 10).float()
        return softplus(-net(make(torch.randn(len(x), model.latent), given), given)).mean()

    return {"critic": critic, "generator": generator}


def unrolled_gan(model: Any) -> Losses:
    make, net = model.generator, model.critic.net

    def generator(x: Tensor, y: Tensor) -> Tensor:
        fake = make(torch.randn(len(x), model.latent))
        both = torch.cat((x, fake))
        weights = {name: p.detach().requires_grad_() for name, p in net.named_parameters()}
        first, second = ({name: torch.zeros_like(p) for name, p in weights.items()} for _ in range(2))
        for step in range(1, model.unroll + 1):
            loss = logistic(*functional_call(net, weights, both).chunk(2))
            slopes = torch.autograd.grad(loss, list(weights.values()), create_graph=True)
            for (name, weight), slope in zip(list(weights.items()), slopes, strict=True):
                first[name] = 0.5 * first[name] + 0.5 * slope
                second[name] = 0.999 * second[name] + 0.001 * slope.square()
                root = (second[name] / (1 - 0.999**step) + 1e-16).sqrt()
                weights[name] = weight - model.inner_lr * first[name] / (1 - 0.5**step) / root
        return softplus(-functional_call(net, weights, fake)).mean()

    return dcgan(model) | {"generator": generator}


def mad_gan(model: Any) -> Losses:
    net, count = model.critic.net.net, len(model.generators)
    rate = rating(net, net)

    def made(x: Tensor) -> Tensor:
        parts = torch.randn(len(x), model.noise).chunk(count)
        return torch.cat([make(z) for make, z in zip(model.generators, parts, strict=True)])

    def critic(x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            fake = made(x)
        on_real, on_fake = rate((x,), (fake,))
        makers = torch.arange(1, count + 1).repeat_interleave(len(x) // count)
        return cross_entropy(on_real, torch.zeros_like(makers)) + cross_entropy(on_fake, makers)

    def generator(x: Tensor, y: Tensor) -> Tensor:
        return -net(made(x)).log_softmax(1)[:, 0].mean()

    return {"critic": critic, "generator": generator}


def drawn_codes(count: int, model: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Noise, category, and continuous codes of InfoGAN."""
    return torch.randn(count, model.noise), torch.randint(10, (count,)), torch.rand(count, 2) * 2 - 1


def infogan(model: Any) -> Losses:
    make, net, infer = model.generator, model.critic.net, model.recognition
    view = rating(net.features, net)

    def missing(features: Tensor, category: Tensor, continuous: Tensor) -> Tensor:
        logits, mean = infer(features).split((10, 2), 1)
        return cross_entropy(logits, category) + (continuous - mean).square().sum(1).mean() / 2

    def critic(x: Tensor, y: Tensor) -> Tensor:
        noise, category, continuous = drawn_codes(len(x), model)
        with torch.no_grad():
            fake = make(torch.cat((noise, one_hot(category, 10), continuous), 1))
        real, seen = view((x,), (fake,))
        return logistic(net.head(real), net.head(seen)) + missing(seen, category, continuous)

    def generator(x: Tensor, y: Tensor) -> Tensor:
        noise, category, continuous = drawn_codes(len(x), model)
        seen = net.features(make(torch.cat((noise, one_hot(category, 10), continuous), 1)))
        return softplus(-net.head(seen)).mean() + missing(seen, category, continuous)

    return {"critic": critic, "generator": generator}


def acgan(model: Any) -> Losses:
    make, net, name = model.generator, model.critic.net, model.classifier
    view = rating(net.features, net)

    def critic(x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            fake = make(torch.randn(len(x), model.latent), one_hot(y, 10).float())
        real, seen = view((x,), (fake,))
        return logistic(net.head(real), net.head(seen)) + cross_entropy(name(real), y) + cross_entropy(name(seen), y)

    def generator(x: Tensor, y: Tensor) -> Tensor:
        seen = net.features(make(torch.randn(len(x), model.latent), one_hot(y, 10).float()))
        return softplus(-net.head(seen)).mean() + cross_entropy(name(seen), y)

    return {"critic": critic, "generator": generator}


def ssl_gan(model: Any) -> Losses:
    make, net = model.generator, model.critic.net.net

    def critic(x: Tensor, y: Tensor, labelled: Tensor, classes: Tensor) -> Tensor:
        with torch.no_grad():
            fake = make(torch.randn(len(x), model.latent))
        real, generated, known = net(torch.cat((x, fake, labelled))).chunk(3)
        return cross_entropy(known, classes) + logistic(real.logsumexp(1), generated.logsumexp(1)) / 2

    def generator(x: Tensor, y: Tensor, *labelled: Tensor) -> Tensor:
        made = net.features(make(torch.randn(len(x), model.latent)))
        with torch.no_grad():
            seen = net.features(x)
        return (seen.mean(0) - made.mean(0)).square().mean()

    return {"critic": critic, "generator": generator}


def vae_gan(model: Any) -> Losses:
    infer, make, net = model.encoder, model.generator, model.critic.net
    rate = rating(net, net)

    def apart(x: Tensor, seen: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = net.features(x)
        return (seen - wanted).square().sum(1).mean() / 2

    def critic(x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            code = drawn(infer(x))
            fake = make(torch.cat((code, torch.randn_like(code))))
        return logistic(*rate((x,), (fake,)))

    def encoder(x: Tensor, y: Tensor) -> Tensor:
        mean, log_variance = infer(x).chunk(2, 1)
        log_variance = log_variance.clamp(-10, 10)
        code = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        kl = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2
        return kl + apart(x, net.features(make(code)))

    def generator(x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            code = drawn(infer(x))
        seen = net.features(make(torch.cat((code, torch.randn_like(code)))))
        return model.similarity * apart(x, seen[: len(x)]) + softplus(-net.head(seen)).mean()

    return {"critic": critic, "encoder": encoder, "generator": generator}


def bigan(model: Any, noisy: bool = False) -> Losses:
    """Also ALI, whose encoder is ``noisy``."""
    make, encode, net = model.generator, model.encoder, model.critic.net
    rate = rating(net, net)

    def pairs(x: Tensor) -> tuple[Seen, Seen]:
        z = torch.randn(len(x), model.latent)
        return (x, drawn(encode(x)) if noisy else encode(x)), (make(z), z)

    def critic(x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            real, fake = pairs(x)
        return logistic(*rate(real, fake))

    def generator(x: Tensor, y: Tensor) -> Tensor:
        real, fake = rate(*pairs(x))
        return logistic(fake, real)

    return {"critic": critic, "generator": generator}


def drawn(parameters: Tensor) -> Tensor:
    """Of a Gaussian whose mean and log-variance are the halves of the first axis."""
    mean, log_variance = parameters.chunk(2, 1)
    return mean + (log_variance.clamp(-10, 10) / 2).exp() * torch.randn_like(mean)


def ali(model: Any) -> Losses:
    return bigan(model, noisy=True)


def posthoc_ali(model: Any) -> Losses:
    make, encode, judge, net = model.generator, model.encoder, model.judge.net, model.critic.net
    rate, rate_pairs = rating(judge, judge), rating(net, net)

    def critic(x: Tensor, y: Tensor) -> Tensor:
        z = torch.randn(len(x), model.latent)
        with torch.no_grad():
            code, fake = drawn(encode(x)), make(z)
        return logistic(*rate((x,), (fake,))) + logistic(*rate_pairs((x, code), (fake, z)))

    def generator(x: Tensor, y: Tensor) -> Tensor:
        z = torch.randn(len(x), model.latent)
        fake = make(z)
        real, made = rate_pairs((x, drawn(encode(x))), (fake.detach(), z))
        return softplus(-judge(fake)).mean() + logistic(made, real)

    return {"critic": critic, "generator": generator}


def latent_regressor(model: Any) -> Losses:
    def generator(x: Tensor, y: Tensor) -> Tensor:
        z = torch.randn(len(x), model.latent)
        fake = model.generator(z)
        return softplus(-model.critic.net(fake)).mean() + (model.encoder(fake.detach()) - z).square().sum(1).mean()

    return dcgan(model) | {"generator": generator}


def veegan(model: Any) -> Losses:
    make, encode, net = model.generator, model.encoder, model.critic.net
    rate = rating(net, net)

    def critic(x: Tensor, y: Tensor) -> Tensor:
        z = torch.randn(len(x), model.latent)
        with torch.no_grad():
            code, fake = encode(x), make(z)
        return logistic(*rate((x, code + torch.randn_like(code)), (fake, z)))

    def generator(x: Tensor, y: Tensor) -> Tensor:
        z = torch.randn(len(x), model.latent)
        fake = make(z)
        return (z - encode(fake)).square().sum(1).mean() - net(fake, z).mean()

    return {"critic": critic, "generator": generator}


def hali(model: Any) -> Losses:
    (make, lower), (infer, higher), net = model.generator, model.encoder, model.critic.net
    rate = rating(net, net)

    def triples(x: Tensor) -> tuple[Seen, Seen]:
        top = torch.randn(len(x), model.latent)
        inferred, made = drawn(infer(x)), drawn(lower(top))
        return (x, inferred, drawn(higher(inferred))), (make(made).tanh(), made, top)

    def critic(x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            real, fake = triples(x)
        return logistic(*rate(real, fake))

    def generator(x: Tensor, y: Tensor) -> Tensor:
        real, fake = rate(*triples(x))
        return logistic(fake, real)

    return {"critic": critic, "generator": generator}


GAMES: dict[str, Callable[[Any], Losses]] = {game: globals()[game] for game in CASES}
