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
    "ssl_gan": ["~recipe", "data.labelled=4000", "model.discriminator.norm=null", *DCGAN],
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


def rating(net: Callable[..., Tensor], of: nn.Module) -> Callable[[Seen, Seen], tuple[Tensor, Tensor]]:
    """What ``net`` says of real and of generated things, in one call unless ``of`` has a batch norm."""
    if any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in of.modules()):
        return lambda real, fake: (net(*real), net(*fake))

    def together(real: Seen, fake: Seen) -> tuple[Tensor, Tensor]:
        both = net(*map(torch.cat, zip(real, fake, strict=True)))
        return both[: len(real[0])], both[len(real[0]) :]

    return together


def turns(make: Callable[..., Any], critic: Callable[..., Tensor], generator: Callable[..., Tensor]) -> Losses:
    """Of what ``make`` makes of a batch, by the critic's turn without a gradient, and of the batch."""

    def of_critic(*batch: Tensor) -> Tensor:
        with torch.no_grad():
            made = make(*batch)
        return critic(made, *batch)

    return {"critic": of_critic, "generator": lambda *batch: generator(make(*batch), *batch)}


def versus(model: Any, judge: Callable[..., Tensor], fool: Callable[[Tensor], Tensor], net: Any = None) -> Losses:
    """One generator against one critic, by what each minimises of the critic's values."""
    net = net or model.critic.net
    rate = rating(net, model.critic)
    return turns(
        lambda x, y: model.generator(torch.randn(len(x), model.latent)),
        lambda fake, x, y: judge(*rate((x,), (fake,))),
        lambda fake, x, y: fool(net(fake)),
    )


def logistic(real: Tensor, fake: Tensor) -> Tensor:
    return softplus(-real).mean() + softplus(fake).mean()


def taken(fake: Tensor) -> Tensor:
    return softplus(-fake).mean()


def dcgan(model: Any) -> Losses:
    return versus(model, logistic, taken)


def pacgan(model: Any) -> Losses:
    return versus(model, logistic, taken, lambda x: model.critic.net(x.reshape(-1, 2 * x.shape[1], *x.shape[2:])))


def lsgan(model: Any) -> Losses:
    def judge(real: Tensor, fake: Tensor) -> Tensor:
        return ((real - 1).square().mean() + fake.square().mean()) / 2

    return versus(model, judge, lambda fake: (fake - 1).square().mean() / 2)


def wgan(model: Any) -> Losses:
    return versus(model, lambda real, fake: fake.mean() - real.mean(), lambda fake: -fake.mean())


def sngan(model: Any) -> Losses:
    for layer in [part for part in model.critic.modules() if isinstance(part, nn.Linear | nn.Conv2d)]:
        parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)
        parametrizations.spectral_norm(layer)

    def judge(real: Tensor, fake: Tensor) -> Tensor:
        return (1 - real).relu().mean() + (1 + fake).relu().mean()

    return versus(model, judge, lambda fake: -fake.mean())


def energy(model: Any, power: int) -> Callable[[Tensor], Tensor]:
    encoder, decoder = model.critic.net.encoder, model.critic.net.decoder
    return lambda x: (decoder(encoder(x)) - x).flatten(1).abs().pow(power).mean(1)


def ebgan(model: Any) -> Losses:
    def judge(real: Tensor, fake: Tensor) -> Tensor:
        return real.mean() + (0.2 - fake).relu().mean()

    return versus(model, judge, Tensor.mean, energy(model, 2))


def began(model: Any) -> Losses:
    k = torch.zeros(())

    def judge(real: Tensor, fake: Tensor) -> Tensor:
        real, fake = real.mean(), fake.mean()
        loss = real - k.clone() * fake
        k.add_(1e-3 * (0.5 * real.detach() - fake.detach())).clamp_(0, 1)
        return loss

    return versus(model, judge, Tensor.mean, energy(model, 1))


def cgan(model: Any) -> Losses:
    make, net = model.generator, model.critic.net
    rate = rating(net, net)

    def made(x: Tensor, y: Tensor) -> Seen:
        given = one_hot(y, 10).float()
        return make(torch.randn(len(x), model.latent), given), given

    return turns(
        made,
        lambda fake, x, y: logistic(*rate((x, fake[1]), fake)),
        lambda fake, x, y: taken(net(*fake)),
    )


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
        return taken(functional_call(net, weights, fake))

    return dcgan(model) | {"generator": generator}


def mad_gan(model: Any) -> Losses:
    net, count = model.critic.net.net, len(model.generators)
    rate = rating(net, net)

    def made(x: Tensor, y: Tensor) -> Tensor:
        parts = torch.randn(len(x), model.noise).chunk(count)
        return torch.cat([make(z) for make, z in zip(model.generators, parts, strict=True)])

    def critic(fake: Tensor, x: Tensor, y: Tensor) -> Tensor:
        on_real, on_fake = rate((x,), (fake,))
        makers = torch.arange(1, count + 1).repeat_interleave(len(x) // count)
        return cross_entropy(on_real, torch.zeros_like(makers)) + cross_entropy(on_fake, makers)

    return turns(made, critic, lambda fake, x, y: -net(fake).log_softmax(1)[:, 0].mean())


def drawn_codes(count: int, model: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Noise, category, and continuous codes of InfoGAN."""
    return torch.randn(count, model.noise), torch.randint(10, (count,)), torch.rand(count, 2) * 2 - 1


def infogan(model: Any) -> Losses:
    net, view = model.critic.net, rating(model.critic.net.features, model.critic.net)

    def made(x: Tensor, y: Tensor) -> Seen:
        noise, category, continuous = drawn_codes(len(x), model)
        codes = torch.cat((noise, one_hot(category, 10), continuous), 1)
        return model.generator(codes), category, continuous

    def missing(features: Tensor, category: Tensor, continuous: Tensor) -> Tensor:
        logits, mean = model.recognition(features).split((10, 2), 1)
        return cross_entropy(logits, category) + (continuous - mean).square().sum(1).mean() / 2

    def critic(fake: Seen, x: Tensor, y: Tensor) -> Tensor:
        real, seen = view((x,), fake[:1])
        return logistic(net.head(real), net.head(seen)) + missing(seen, *fake[1:])

    def generator(fake: Seen, x: Tensor, y: Tensor) -> Tensor:
        seen = net.features(fake[0])
        return taken(net.head(seen)) + missing(seen, *fake[1:])

    return turns(made, critic, generator)


def acgan(model: Any) -> Losses:
    net, name = model.critic.net, model.classifier
    view = rating(net.features, net)

    def critic(fake: Tensor, x: Tensor, y: Tensor) -> Tensor:
        real, seen = view((x,), (fake,))
        return logistic(net.head(real), net.head(seen)) + cross_entropy(name(real), y) + cross_entropy(name(seen), y)

    def generator(fake: Tensor, x: Tensor, y: Tensor) -> Tensor:
        seen = net.features(fake)
        return taken(net.head(seen)) + cross_entropy(name(seen), y)

    return turns(
        lambda x, y: model.generator(torch.randn(len(x), model.latent), one_hot(y, 10).float()), critic, generator
    )


def ssl_gan(model: Any) -> Losses:
    net = model.critic.net.net

    def critic(fake: Tensor, x: Tensor, y: Tensor, labelled: Tensor, classes: Tensor) -> Tensor:
        real, generated, known = net(torch.cat((x, fake, labelled))).chunk(3)
        return cross_entropy(known, classes) + logistic(real.logsumexp(1), generated.logsumexp(1)) / 2

    def generator(fake: Tensor, x: Tensor, *rest: Tensor) -> Tensor:
        with torch.no_grad():
            seen = net.features(x)
        return (seen.mean(0) - net.features(fake).mean(0)).square().mean()

    return turns(lambda x, *rest: model.generator(torch.randn(len(x), model.latent)), critic, generator)


def drawn(parameters: Tensor) -> Tensor:
    """Of a Gaussian whose mean and log-variance are the halves of the first axis."""
    mean, log_variance = parameters.chunk(2, 1)
    return mean + (log_variance.clamp(-10, 10) / 2).exp() * torch.randn_like(mean)


def vae_gan(model: Any) -> Losses:
    infer, make, net = model.encoder, model.generator, model.critic.net
    rate = rating(net, net)

    def made(x: Tensor, y: Tensor) -> Tensor:
        with torch.no_grad():
            code = drawn(infer(x))
        return make(torch.cat((code, torch.randn_like(code))))

    def apart(x: Tensor, seen: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = net.features(x)
        return (seen - wanted).square().sum(1).mean() / 2

    def encoder(x: Tensor, y: Tensor) -> Tensor:
        mean, log_variance = infer(x).chunk(2, 1)
        log_variance = log_variance.clamp(-10, 10)
        kl = (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean() / 2
        code = mean + (log_variance / 2).exp() * torch.randn_like(mean)
        return kl + apart(x, net.features(make(code)))

    def generator(fake: Tensor, x: Tensor, y: Tensor) -> Tensor:
        seen = net.features(fake)
        return model.similarity * apart(x, seen[: len(x)]) + taken(net.head(seen))

    found = turns(made, lambda fake, x, y: logistic(*rate((x,), (fake,))), generator)
    return {"critic": found["critic"], "encoder": encoder, "generator": found["generator"]}


def joint(model: Any, made: Callable[[Tensor, Tensor], tuple[Seen, Seen]]) -> Losses:
    """Pairs, or triples, that the encoder makes against those that the generator makes."""
    rate = rating(model.critic.net, model.critic.net)

    def generator(pairs: tuple[Seen, Seen], x: Tensor, y: Tensor) -> Tensor:
        real, fake = rate(*pairs)
        return logistic(fake, real)

    return turns(made, lambda pairs, x, y: logistic(*rate(*pairs)), generator)


def bigan(model: Any) -> Losses:
    def made(x: Tensor, y: Tensor) -> tuple[Seen, Seen]:
        z = torch.randn(len(x), model.latent)
        return (x, model.encoder(x)), (model.generator(z), z)

    return joint(model, made)


def ali(model: Any) -> Losses:
    def made(x: Tensor, y: Tensor) -> tuple[Seen, Seen]:
        z = torch.randn(len(x), model.latent)
        return (x, drawn(model.encoder(x))), (model.generator(z), z)

    return joint(model, made)


def hali(model: Any) -> Losses:
    (make, lower), (infer, higher) = model.generator, model.encoder

    def made(x: Tensor, y: Tensor) -> tuple[Seen, Seen]:
        top = torch.randn(len(x), model.latent)
        inferred, low = drawn(infer(x)), drawn(lower(top))
        return (x, inferred, drawn(higher(inferred))), (make(low).tanh(), low, top)

    return joint(model, made)


def posthoc_ali(model: Any) -> Losses:
    judge, rate, rate_pairs = model.judge.net, *(rating(net.net, net) for net in (model.judge, model.critic))

    def made(x: Tensor, y: Tensor) -> Seen:
        z = torch.randn(len(x), model.latent)
        return model.generator(z), z, drawn(model.encoder(x))

    def critic(fake: Seen, x: Tensor, y: Tensor) -> Tensor:
        return logistic(*rate((x,), fake[:1])) + logistic(*rate_pairs((x, fake[2]), fake[:2]))

    def generator(fake: Seen, x: Tensor, y: Tensor) -> Tensor:
        real, made = rate_pairs((x, fake[2]), (fake[0].detach(), fake[1]))
        return taken(judge(fake[0])) + logistic(made, real)

    return turns(made, critic, generator)


def latent_regressor(model: Any) -> Losses:
    def generator(x: Tensor, y: Tensor) -> Tensor:
        z = torch.randn(len(x), model.latent)
        fake = model.generator(z)
        return taken(model.critic.net(fake)) + (model.encoder(fake.detach()) - z).square().sum(1).mean()

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


GAMES: dict[str, Callable[[Any], Losses]] = {game: globals()[game] for game in CASES}
