"""f-divergences as adversarial losses: six of them, each by the critic that makes its variational bound tight.

Nowozin, Cseke and Tomioka 2016, arXiv 1606.00709: eq. 6, tables 1 and 2.
"""

from torch import Tensor
from torch.nn.functional import softplus

LOG_2 = 0.6931471805599453
STEEPEST = 20.0


def exp(v: Tensor) -> Tensor:
    """e^v up to v = 20 and the tangent there beyond, which neither overflows nor loses its gradient."""
    return v.clamp(max=STEEPEST).exp() * (1 + (v - STEEPEST).relu())


class FGAN:
    """D_f(p || q) = E_q[f(p / q)] = sup over T of E_p[T] - E_q[f*(T)], f convex with f(1) = 0, f* its conjugate.

    The critic's values v are any numbers; T = g_f(v) takes them to where f* is finite, rising in v.

    critic:    -E[T(x)] + E[f*(T(G(z)))]
    generator: -E[f*(T(G(z)))],   or -E[T(G(z))] where ``practical``

    Minus the critic's loss is a lower bound of the divergence, reached by T = f'(p / q); p is the data, so that ``KL``
    punishes a generator that leaves out what there is, and ``ReverseKL`` one that draws what there is not.

    A subclass defines ``output``, g_f(v), and ``conjugate``, f*(g_f(v)) in one piece, which is finite where the two
    one after the other are not. Deviation: exponentials go on as straight lines beyond e^20, as if f were infinite
    where p / q (or q / p) is greater than e^20 = 5e8; where it is less, the bound is the paper's.

    Args:
        practical: the generator makes T great instead of f*(T) (section 3.2: the fixed point is the same, and training
            faster where the critic wins). Off by default, although the paper has it on for images: only without it does
            the generator minimise the divergence that the loss is named after.
    """

    def __init__(self, practical: bool = False):
        self.practical = practical

    def output(self, v: Tensor) -> Tensor:
        """T = g_f(v), of the shape of ``v``."""
        raise NotImplementedError

    def conjugate(self, v: Tensor) -> Tensor:
        """f*(g_f(v)), of the shape of ``v``."""
        raise NotImplementedError

    def critic(self, real: Tensor, fake: Tensor) -> Tensor:
        """Loss of the critic from its values ``real`` and ``fake``, (B,) each."""
        return self.conjugate(fake).mean() - self.output(real).mean()

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """Loss of the generator from the critic's values on its examples, (B,)."""
        return -(self.output(fake) if self.practical else self.conjugate(fake)).mean()

    def both(self, real: Tensor, fake: Tensor) -> Tensor:
        """Loss of players that make both kinds: the bound, or the critic's loss with its labels exchanged."""
        return self.critic(fake, real) if self.practical else -self.critic(real, fake)


class KL(FGAN):
    """KL(p || q), the divergence of maximum likelihood.

    f(u) = u log u,   g_f(v) = v,   f*(t) = e^(t - 1);   at best v = 1 + log(p / q).
    """

    def output(self, v: Tensor) -> Tensor:
        """T = v."""
        return v

    def conjugate(self, v: Tensor) -> Tensor:
        """f*(T) = e^(v - 1)."""
        return exp(v - 1)


class ReverseKL(FGAN):
    """KL(q || p).

    f(u) = -log u,   g_f(v) = -e^-v,   f*(t) = -1 - log(-t) on t < 0;   at best v = log(p / q).
    """

    def output(self, v: Tensor) -> Tensor:
        """T = -e^-v."""
        return -exp(-v)

    def conjugate(self, v: Tensor) -> Tensor:
        """f*(T) = v - 1."""
        return v - 1


class Pearson(FGAN):
    """Pearson's chi-squared, E_q[(p / q - 1)^2].

    f(u) = (u - 1)^2,   g_f(v) = v,   f*(t) = t^2 / 4 + t;   at best v = 2 (p / q - 1).

    Of two Gaussians it is finite only where var p < 2 var q.
    """

    def output(self, v: Tensor) -> Tensor:
        """T = v."""
        return v

    def conjugate(self, v: Tensor) -> Tensor:
        """f*(T) = v^2 / 4 + v."""
        return v.square() / 4 + v


class SquaredHellinger(FGAN):
    """The squared Hellinger distance, integral of (sqrt p - sqrt q)^2, from 0 to 2.

    f(u) = (sqrt u - 1)^2,   g_f(v) = 1 - e^-v,   f*(t) = t / (1 - t) on t < 1;   at best v = log(p / q) / 2.
    """

    def output(self, v: Tensor) -> Tensor:
        """T = 1 - e^-v."""
        return 1 - exp(-v)

    def conjugate(self, v: Tensor) -> Tensor:
        """f*(T) = e^v - 1."""
        return exp(v) - 1


class JensenShannon(FGAN):
    """2 JS(p, q), from 0 to log 4: twice the divergence, by the paper's choice of f.

    f(u) = u log u - (u + 1) log((u + 1) / 2),   g_f(v) = log 2 - log(1 + e^-v),   f*(t) = -log(2 - e^t) on t < log 2;
    at best v = log(p / q).
    """

    def output(self, v: Tensor) -> Tensor:
        """T = log 2 - log(1 + e^-v)."""
        return LOG_2 - softplus(-v)

    def conjugate(self, v: Tensor) -> Tensor:
        """f*(T) = log(1 + e^v) - log 2."""
        return softplus(v) - LOG_2


class OriginalGAN(FGAN):
    """2 JS(p, q) - log 4, the value of the first GAN: ``Minimax`` by another way, and ``practical`` non-saturating.

    f(u) = u log u - (u + 1) log(u + 1), f(1) = -log 4,   g_f(v) = -log(1 + e^-v),   f*(t) = -log(1 - e^t) on t < 0;
    at best v = log(p / q).
    """

    def output(self, v: Tensor) -> Tensor:
        """T = -log(1 + e^-v) = log D."""
        return -softplus(-v)

    def conjugate(self, v: Tensor) -> Tensor:
        """f*(T) = log(1 + e^v) = -log(1 - D)."""
        return softplus(v)
