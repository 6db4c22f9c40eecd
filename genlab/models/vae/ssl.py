"""Semi-supervised VAE: the class is a latent variable, which few of the examples show."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.likelihoods.base import Likelihood
from genlab.models.vae.inferred import Inferred
from genlab.models.vae.vae import NUMBERS_AT_ONCE, VAE
from genlab.noise import Noise
from genlab.spec import Spec, to_signed


class SemiSupervisedVAE(nn.Module):
    """p(x, y, z) = p(x | y, z) p(y) p(z), p(y) = 1 / K, with q(z | x, y) and a classifier q(y | x): the paper's M2.

    L(x, y) = E_q(z | x, y)[log p(x | y, z)] + log p(y) - KL(q(z | x, y) || p(z))   <= log p(x, y)
    U(x)    = sum_y q(y | x) (L(x, y) - log q(y | x))                               <= log p(x)

    The sum over all K classes is taken, so that no gradient has to come through a draw of y; it costs K passes of both
    nets. ``loss=semi_supervised`` maximises L where y is known and U where it is not, and log q(y | x) beside them.
    (Kingma, Rezende, Mohamed & Welling 2014, arXiv 1406.5298, eq. 6 to 9.) Deviation: that of ``VAE``.

    Protocols: Samples, Bound (on log p(x), with or without a label at hand), Encodes, Varies, Classifies, Weighs.

    Args:
        spec: of the data, which have classes.
        encoder: of q(z | x, y), called with ``(spec, 2 Z, condition=K)``.
        decoder: of p(x | y, z), called with ``(spec, Z + K, parameters)``.
        classifier: of q(y | x), called with ``(spec, K)``; a module from scaled examples to logits.
        latent: number Z of latent dimensions.
        likelihood: the output distribution p(x | y, z), as ``VAE`` has it.
        net: the word from which a preset names the nets.

    Raises:
        ConfigError: the data have no classes.
    """

    supervised = True

    def __init__(
        self,
        spec: Spec,
        encoder: Callable[..., nn.Module],
        decoder: Callable[..., nn.Module],
        classifier: Callable[..., nn.Module],
        latent: int = 50,
        likelihood: str | Callable[..., Likelihood] | None = None,
        net: str = "",
    ):
        super().__init__()
        if not spec.classes:
            raise ConfigError("data", "", "a semi-supervised VAE takes data that have classes")
        self.conditional = True  # of the instance: what samples and codes are told, few of the examples need to show
        self.spec, self.latent, self.net, self.classes = spec, latent, net, len(spec.classes)
        self.given = VAE(spec, encoder, decoder, latent, likelihood, conditional=True)
        self.classifier = classifier(spec, self.classes)

    def labelled_bound(self, x: Tensor, y: Tensor) -> Tensor:
        """L(x, y), (B,)."""
        return self.given.bound(x, y) - math.log(self.classes)

    def joint_bound(self, x: Tensor, y: Tensor) -> Tensor:
        """L(x, y) of examples whose class is known, U(x) of those where it is -1, (B,)."""
        if bool((y >= 0).all()):
            return self.labelled_bound(x, y)
        log_prob, kl = self._of_every_class(x)
        each = log_prob - kl.sum(2) - math.log(self.classes)
        told = each.gather(1, y.long().clamp(min=0)[:, None]).squeeze(1)
        return torch.where(y >= 0, told, self._weighed(x, each))

    def terms(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The two terms of U: sum_y q(y | x) log p(x | y, z), (B,), and the KL of the class, then that of each
        dimension of z as its mean over classes, (B, 1 + Z)."""
        log_prob, kl = self._of_every_class(x)
        log_q = self.classify(x).log_softmax(1)
        of_class = (log_q.exp() * log_q).sum(1, keepdim=True) + math.log(self.classes)
        return (log_q.exp() * log_prob).sum(1), torch.cat([of_class, (log_q.exp()[..., None] * kl).sum(1)], 1)

    def bound(self, x: Tensor, y: Tensor | None = None, k: int = 1) -> Tensor:
        """U(x), (B,); for k > 1 log (1/k) sum_i p(x, y_i, z_i) / q(y_i, z_i | x) of draws of both."""
        if k == 1:
            log_prob, kl = self.terms(x)
            return log_prob - kl.sum(1)
        return self.log_weights(x, y, k).logsumexp(0).sub(math.log(k)).to(next(self.parameters()).dtype)

    def log_weights(self, x: Tensor, y: Tensor | None = None, k: int = 1) -> Tensor:
        """log p(x, y_i, z_i) - log q(y_i, z_i | x) at y_i ~ q(y | x), z_i ~ q(z | x, y_i), (k, B), some of the k at a
        time."""
        log_q = self.classify(x).log_softmax(1)
        classes = torch.multinomial(log_q.exp(), k, replacement=True).T
        mean, log_variance, _ = self.given.infer(*self._with_every_class(x))
        first = torch.arange(len(x), device=x.device) * self.classes
        piece = max(1, NUMBERS_AT_ONCE // (self.given.likelihood.outputs * self.spec.dimensions * len(x)))
        found = []
        for y_i in classes.split(piece):
            rows = (first + y_i).flatten()
            z, log_z = self.given.draw(Inferred(mean[rows], log_variance[rows]))
            many = x.expand(len(y_i), *x.shape).flatten(0, 1)
            weight = self.given.log_joint(many, z[0], y_i.flatten()) - log_z[0]
            found.append(weight.view_as(y_i) - math.log(self.classes) - log_q.gather(1, y_i.T).T)
        return torch.cat(found).double()

    def classify(self, x: Tensor) -> Tensor:
        """Logits of q(y | x), (B, K)."""
        return self.classifier(to_signed(x, self.spec.levels))

    def sample(self, noise: Noise, y: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """x ~ p(x | y, z), y of p(y) where none is given; temperature is that of p(z)."""
        if y is None:
            y = (noise.uniform() * self.classes).long()
        return self.given.sample(noise, y, temperature)

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The mean of q(z | x, y), (B, Z), at the most probable class where none is given: style, without the class."""
        return self.given.encode(x, self.classify(x).argmax(1) if y is None else y)

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The mean of p(x | y, z) in data units, (B, *spec.shape)."""
        return self.given.decode(z, y)

    def variations(self, noise: Noise, steps: int) -> dict[str, Tensor]:
        """Analogies: every class at one and the same z."""
        return {"class": analogies(self, noise.normal(self.latent))}

    def _with_every_class(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Each example K times, (B K, ...), with each of the classes."""
        return x.repeat_interleave(self.classes, 0), torch.arange(self.classes, device=x.device).repeat(len(x))

    def _of_every_class(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """log p(x | y, z) at z ~ q(z | x, y) of every y, (B, K), and the KL of each dimension, (B, K, Z)."""
        log_prob, kl = self.given.terms(*self._with_every_class(x))
        return log_prob.view(-1, self.classes), kl.unflatten(0, (-1, self.classes))

    def _weighed(self, x: Tensor, each: Tensor) -> Tensor:
        """U(x), (B,), of L(x, y) of every y, (B, K)."""
        log_q = self.classify(x).log_softmax(1)
        return (log_q.exp() * (each - log_q)).sum(1)


def analogies(model: Any, z: Tensor) -> Tensor:
    """Every class of each code: (B, Z) to (B, K, *spec.shape)."""
    every = torch.arange(model.classes, device=z.device).repeat(len(z))
    return model.decode(z.repeat_interleave(model.classes, 0), every).unflatten(0, (len(z), model.classes))
