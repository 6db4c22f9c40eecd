"""Parts of the losses on their way to the log: kept on the device, brought over once every ``log_every`` steps."""

from collections.abc import Mapping

import torch
from torch import Tensor

from genlab.errors import GenlabError


class NotFiniteError(GenlabError):
    """A loss became NaN or infinite, or something inside the model failed for such reasons."""


def mean_of_ranks(values: dict[str, float]) -> dict[str, float]:
    """The mean over all ranks of each value, of equal batches the whole batch's."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return values
    device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
    together = torch.tensor([*values.values()], dtype=torch.float64, device=device)
    torch.distributed.all_reduce(together)
    return dict(zip(values, (together / torch.distributed.get_world_size()).tolist(), strict=True))


class Meter:
    """Collects scalars without waiting for the device, and averages them when asked.

    A part that is not finite is found when the parts are brought over, and named with the first step it happened in.
    """

    def __init__(self) -> None:
        self._parts: dict[str, list[Tensor]] = {}
        self._steps: dict[str, list[int]] = {}

    def add(self, step: int, parts: Mapping[str, Tensor], prefix: str = "") -> None:
        """Keep the parts of one turn."""
        for name, value in parts.items():
            self._parts.setdefault(prefix + name, []).append(value)
            self._steps.setdefault(prefix + name, []).append(step)

    def check(self) -> None:
        """Raises:
        NotFiniteError: some part is NaN or infinite.
        """
        first: tuple[int, str, float] | None = None
        for name, values in self._brought().items():
            for step, value in zip(self._steps[name], values, strict=True):
                if value - value != 0 and (first is None or step < first[0]):
                    first = (step, name, value)
        if first is not None:
            step, name, value = first
            raise NotFiniteError(f"step {step}: {name} is {value}")

    def flush(self) -> dict[str, float]:
        """Means over what was kept, which is then forgotten.

        Raises:
            NotFiniteError: some part is NaN or infinite.
        """
        means = {name: sum(values) / len(values) for name, values in self._brought().items()}
        means = mean_of_ranks(means)  # before the look at this rank's: one that stopped would leave the others waiting
        self.check()
        for name, mean in means.items():
            if mean - mean != 0:
                raise NotFiniteError(f"step {max(self._steps[name])}: {name} is {mean} on another rank")
        self._parts.clear()
        self._steps.clear()
        return means

    def _brought(self) -> dict[str, list[float]]:
        """All parts as numbers, in one transfer for each kind of tensor."""
        flat = [value for values in self._parts.values() for value in values]
        numbers = iter(torch.stack([value.detach().float() for value in flat]).tolist() if flat else [])
        return {name: [next(numbers) for _ in values] for name, values in self._parts.items()}

    def state_dict(self) -> dict[str, tuple[list[int], list[float]]]:
        """What is kept, plain, so that a resumed run logs what an undisturbed one does."""
        return {name: (self._steps[name], values) for name, values in self._brought().items()}

    def load_state_dict(self, state: Mapping[str, tuple[list[int], list[float]]], device: torch.device) -> None:
        """The inverse of ``state_dict``."""
        for name, (steps, values) in state.items():
            self._steps[name] = list(steps)
            self._parts[name] = list(torch.tensor(values, device=device).unbind())
