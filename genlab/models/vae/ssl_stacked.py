"""A semi-supervised VAE of the codes of a VAE: the paper's M1 + M2."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from genlab.errors import ConfigError
from genlab.models.vae.ssl import SemiSupervisedVAE, analogies
from genlab.models.vae.vae import VAE
from genlab.noise import Noise
from genlab.spec import Spec


class StackedVAE(nn.Module):
    """p(x, y, z, c) = p(x | c) p(c | y, z) p(y) p(z): codes c of ``first`` are the examples of ``second``.

    log p(x) >= E_q(c | x)[log p(x | c) - log q(c | x) + U(c)],   U of ``SemiSupervisedVAE``; with a label L(c, y) for U

    Layer by layer: ``first`` climbs its own bound, with N(0, I) for the prior of c, and no gradient comes to it from
    above; ``second`` climbs L and U at one c ~ q(c | x), and its classifier sees the same kind of c in training and the
    mean of q(c | x) afterwards. (Kingma, Rezende, Mohamed & Welling 2014, arXiv 1406.5298, section 2.1.) Deviation:
    both learn at the same time, each from its own objective, where the paper has one after the other.

    Protocols: those of ``SemiSupervisedVAE``.

    Args:
        spec: of the data, which have classes.
        first: M1, called with ``(spec)``.
        second: M2, called with the spec of the codes of ``first``.
        net: the word from which a preset names the nets of ``first``.

    Raises:
        ConfigError: the data have no classes.
    """

    supervised = True

    def __init__(
        self,
        spec: Spec,
        first: Callable[[Spec], VAE],
        second: Callable[[Spec], SemiSupervisedVAE],
        net: str = "",
    ):
        super().__init__()
        if not spec.classes:
            raise ConfigError("data", "", "a semi-supervised VAE takes data that have classes")
        self.conditional = True  # of the instance, as of ``SemiSupervisedVAE``
        self.spec, self.net = spec, net
        self.first = first(spec)
        self.second = second(Spec("vector", (self.first.latent,), classes=spec.classes))
        self.latent, self.classes = self.second.latent, self.second.classes

    def joint_bound(self, x: Tensor, y: Tensor) -> Tensor:
        """The bound on log p(x, y), or on log p(x) where y is -1, (B,), with the gradients of layer by layer."""
        inferred = self.first.infer(x)
        code, log_q = self.first.draw(inferred)
        own = self.first.log_likelihood(x, code[0]) + self.first.log_prior(code[0]) - log_q[0]
        without = self.first.log_prior(code[0]).detach()  # a constant in the place of another prior
        return own - without + self.second.joint_bound(code[0].detach(), y)

    def terms(self, x: Tensor, y: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """log p(x | c) at one c ~ q(c | x), (B,), and log q(c | x) - U(c), (B, 1)."""
        code, log_q = self.first.draw(self.first.infer(x))
        return self.first.log_likelihood(x, code[0]), (log_q[0] - self.second.bound(code[0]))[:, None]

    def bound(self, x: Tensor, y: Tensor | None = None, k: int = 1) -> Tensor:
        """A bound on log p(x), (B,), by ``terms``; for k > 1 of k draws of c, y and z together."""
        if k == 1:
            log_prob, kl = self.terms(x)
            return log_prob - kl.sum(1)
        return self.log_weights(x, y, k).logsumexp(0).sub(math.log(k)).to(next(self.parameters()).dtype)

    def log_weights(self, x: Tensor, y: Tensor | None = None, k: int = 1) -> Tensor:
        """log p(x, c_i, y_i, z_i) - log q(c_i, y_i, z_i | x), (k, B): a draw of y and z for each of c."""
        inferred, found = self.first.infer(x), []
        for _ in range(k):
            code, log_q = self.first.draw(inferred)
            above = self.second.log_weights(code[0], k=1)[0]
            found.append(self.first.log_likelihood(x, code[0]) - log_q[0] + above)
        return torch.stack(found).double()

    def classify(self, x: Tensor) -> Tensor:
        """Logits of q(y | c), (B, K), at a draw of c in training, else at the mean of q(c | x)."""
        with torch.no_grad():
            inferred = self.first.infer(x)
            code = self.first.draw(inferred)[0][0] if self.training else inferred.mean
        return self.second.classify(code)

    def sample(self, noise: Noise, y: Tensor | None = None, temperature: float = 1.0) -> Tensor:
        """x ~ p(x | c), c ~ p(c | y, z), y of p(y) where none is given; temperature is that of p(z)."""
        code = self.second.sample(noise, y, temperature)
        u = noise.uniform(self.first.likelihood.draws, *self.spec.shape)
        return self.first.likelihood.sample(self.first.decoder(code), u)

    def encode(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """The mean of q(z | c, y), (B, Z), at the mean of q(c | x); at the most probable class where none is given."""
        return self.second.encode(self.first.encode(x), y)

    def decode(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """The mean of p(x | c) at the mean of p(c | y, z), in data units, (B, *spec.shape)."""
        return self.first.decode(self.second.decode(z, y))

    def variations(self, noise: Noise, steps: int) -> dict[str, Tensor]:
        """Analogies: every class at one and the same z."""
        return {"class": analogies(self, noise.normal(self.latent))}
