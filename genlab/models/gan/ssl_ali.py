"""Semi-supervised ALI: the critic of pairs of an example and its code is a classifier of examples, too."""

from collections.abc import Callable
from typing import Any, ClassVar

from torch import Tensor, nn, no_grad
from torch.nn.functional import cross_entropy

from genlab.errors import ConfigError
from genlab.models.base import AdversarialLoss, Batch
from genlab.models.gan.ali import drawn, gaussian
from genlab.models.gan.bigan import BiGAN
from genlab.models.gan.ssl import Evidence
from genlab.penalties.base import Penalty
from genlab.spec import Spec, to_signed


class SemiSupervisedALI(BiGAN):
    """ALI whose critic has K classes and "generated", from few labels and many examples without one:

    critic:               -E[log p(y | x, z^, labelled)] + (unsupervised / 2) L_critic(d),   z^ ~ q(z | x)
    generator, encoder:   L_critic(d) with its labels exchanged,                 d = log sum_k exp(l_k(x, z))

    (Dumoulin et al. 2017, arXiv 1606.00704, section 4.3: the critic of Salimans et al. 2016, arXiv 1606.03498, without
    their feature matching.) Labelled examples are those of ``data.labelled``; where all labels are known, the batch
    itself. With ``unsupervised`` 0 only labels teach the critic. ``classify`` sees x beside the mean of q(z | x).

    Protocols: those of ``BiGAN``, Classifies. Deviations: those of ``ALI``; the weights of the two terms are those of
    the code of ``ssl.SemiSupervisedGAN``, the paper has none.

    Args:
        spec: of the data, which have classes.
        generator: as of ``BiGAN``.
        encoder: called with ``(spec, outputs=2 Z)``.
        discriminator: called with ``(spec, codes, outputs=K)``; from scaled examples and codes to logits, (B, K).
        latent: number Z of latent dimensions.
        unsupervised: weight of real against generated in the critic's turn.
        net: the word from which a preset names the nets.

    Raises:
        ConfigError: the data have no classes.
    """

    numbers: ClassVar[int] = 2
    supervised = True
    averaged = ("critic", "generator")  # the classifier is tested with averaged weights

    def __init__(
        self,
        spec: Spec,
        generator: Callable[..., nn.Module],
        encoder: Callable[..., nn.Module],
        discriminator: Callable[..., nn.Module],
        latent: int = 64,
        unsupervised: float = 1.0,
        net: str = "",
    ):
        if not spec.classes:
            raise ConfigError("data", "", "semi-supervised ALI takes data that have classes")

        def critic(*shapes: Any) -> nn.Module:
            return Evidence(discriminator(*shapes, outputs=len(spec.classes)))

        super().__init__(spec, generator, encoder, critic, latent, net)
        self.unsupervised = unsupervised

    @property
    def classifier(self) -> Any:
        """The net of the logits, of examples and codes."""
        return self.critic.net.net

    def turn(
        self, player: str, batch: Batch, loss: AdversarialLoss, penalty: Penalty | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """What ``player`` minimises on ``batch``; ``classes`` among the parts is the labelled cross-entropy."""
        value, parts = super().turn(player, batch, loss, penalty)
        if player == "generator":
            return value, parts
        x, y = batch.get("x_labelled", batch["x"]), batch.get("y_labelled", batch["y"])
        real = to_signed(x, self.spec.levels)
        with no_grad():
            code = self.infer(real, None)
        classes = cross_entropy(self.classifier(real, code), y.long())
        parts["classes"] = classes.detach()
        return classes + self.unsupervised / 2 * value, parts

    def infer(self, x: Tensor, given: Tensor | None) -> Tensor:
        """One code drawn from q(z | x) for each scaled example, (B, Z)."""
        return drawn(*gaussian(self.encoded(x, given)))

    def classify(self, x: Tensor) -> Tensor:
        """Logits of the classes of data-space examples, (B, K)."""
        return self.classifier(to_signed(x, self.spec.levels), self.encode(x))
