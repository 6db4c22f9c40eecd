"""Combinations that cannot work, found in a config before anything is imported: one small function for each.

A class may also say for itself what it needs of the rest of the config, as a class attribute read from its source:

    requires: ClassVar = {"data.kind": ("image",)}

Keys are those of the config, ``data.kind`` is the ``kind`` of the data set's class, ``data.levels`` what it and its
options make of it.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from genlab.choices import likelihoods
from genlab.errors import ConfigError, nearest
from genlab.signatures import Signature, keys_of, signature
from genlab.spec import KINDS, number_of
from genlab.validation.ranges import is_number, ranges

Config = Mapping[str, Any]


def contradictions(config: Config) -> Iterator[ConfigError]:
    """All contradictions in a config."""
    for rule in RULES:
        yield from rule(config)


def look(config: Config, key: str) -> Any:
    """What stands at a dotted key, else the default of the class it would be given to; None where there is neither."""
    if key == "data.kind":
        return kind(config)
    if key == "data.levels":
        return levels(config)
    node: Any = config
    *path, name = key.split(".")
    for part in path:
        node = node.get(part) if isinstance(node, Mapping) else None
    if not isinstance(node, Mapping):
        return None
    if not path:
        return node.get(name)
    known = signature(str(node.get("_target_", "")))
    return node.get(name, known.default(name) if known else None)


def of(config: Config, group: str) -> Signature | None:
    """Signature of what a node names."""
    return known_as(config.get(group))


def known_as(node: Any) -> Signature | None:
    """Signature of what a nested node names."""
    return signature(str(node.get("_target_", ""))) if isinstance(node, Mapping) else None


def kind(config: Config) -> str | None:
    """``Spec.kind`` of the data; None where its class does not tell."""
    data = of(config, "data")
    return data.constants.get("kind") if data else None


def levels(config: Config) -> int | None:
    """``Spec.levels`` of image data; None where its class does not tell."""
    data, node = of(config, "data"), config.get("data")
    if data is None or not isinstance(node, Mapping) or kind(config) != "image":
        return None
    if node.get("binarize", "none") != "none":
        return 2
    given = node.get("levels")
    return given if given is not None else data.constants.get("native_levels")


def way_of_training(config: Config) -> Iterator[ConfigError]:
    """A game is trained by an adversarial loss, a likelihood by a likelihood objective."""
    training, loss, model = of(config, "training"), of(config, "loss"), of(config, "model")
    if training is None or loss is None or model is None:
        return
    game = "Adversarial" in training.bases
    wanted = ("critic", "generator") if game else ("__call__",) if "Likelihood" in training.bases else ()
    missing = [name for name in wanted if name not in loss.methods]
    if game and "critic" in missing and "__call__" in loss.methods:
        yield error(config, "loss", f"{model.name} is a game, {loss.name} a likelihood objective", "non_saturating")
    elif missing and (game or "critic" not in loss.methods):
        what = "loss of games is its critic(real, fake) and generator(fake, real)"
        what = what if game else "likelihood objective is its __call__(model, batch, step)"
        yield error(config, "loss", f"{loss.name} has no {' and no '.join(missing)}; a {what}")
    own = {"joint_bound": "semi_supervised", "terms": "elbo", "reconstruction": "reconstruction"}
    own |= {} if model.constants.get("frozen") else {"quantisation": "vector_quantised"}  # else its codes are given
    fitting = next((name for method, name in own.items() if method in model.methods), "nll")
    if not game and "Likelihood" in training.bases and "critic" in loss.methods:
        reason = f"{loss.name} is a loss of games, {model.name} is trained by its likelihood"
        yield error(config, "loss", reason, fitting)
    for method in loss.constants.get("asks") or ():
        if not game and model.methods and method not in model.methods:
            reason = f"{loss.name} asks a model for its {method}, which {model.name} has not"
            yield error(config, "loss", reason, fitting)
    if unscored(model) and "__call__" in loss.methods and not loss.constants.get("asks"):
        yield error(config, "loss", f"{model.name} has no likelihood, neither a log_prob nor a bound", fitting)


def unscored(model: Signature) -> bool:
    """Is it an auto-encoder, which has an error in the place of a likelihood or a bound?"""
    return "reconstruction" in model.methods and not {"log_prob", "bound"} & {*model.methods}


def constraint(config: Config) -> Iterator[ConfigError]:
    """Penalties are for critics, and some losses mean nothing without one."""
    loss, penalty, training = of(config, "loss"), of(config, "penalty"), of(config, "training")
    if loss is None or penalty is None or training is None:
        return
    none, game = penalty.bases == ("Penalty",), "Adversarial" in training.bases
    held = any(part.constants.get("restrains") for part in penalties(config))
    if game and loss.constants.get("needs_penalty") and not held:  # of another way of training the loss is a mistake
        reason = f"{loss.name} takes a critic that is held Lipschitz"
        yield error(config, "penalty", reason, "gradient")
    if not none and not game:
        yield error(config, "penalty", "a penalty is of a critic, and there is none here", "none")


def energies(config: Config) -> Iterator[ConfigError]:
    """Losses of energies, which are never negative, fall without end under a critic of any values."""
    loss, critic = of(config, "loss"), known_as(look(config, "model.discriminator"))
    if loss and critic and loss.constants.get("needs_energy") and not critic.constants.get("gives_energy"):
        reason = f"{loss.name} takes a critic that is an auto-encoder, as model=ebgan and model=began have one"
        yield error(config, "loss", reason, "non_saturating")


def imitation(config: Config) -> Iterator[ConfigError]:
    """Penalties of generators compare what the critic's hidden layers make of examples."""
    model, critic = of(config, "model"), known_as(look(config, "model.discriminator"))
    if model is None or critic is None:
        return
    for part in penalties(config):
        if part.methods.get("imitation", "Penalty") == "Penalty":
            continue
        if not model.constants.get("takes_imitation"):
            reason = f"{part.name} is of generators, and the one of {model.name} takes none"
        elif look(config, "model.conditional") or "features" not in critic.methods:
            reason = f"{part.name} is of examples, and the critic sees more than those"
        else:
            continue
        yield error(config, "penalty", reason, "none")


def penalties(config: Config) -> Iterator[Signature]:
    """Signature of the penalty, or of each that a sum has."""
    node = config.get("penalty")
    terms = node.get("terms") if isinstance(node, Mapping) else None
    for part in [*terms.values()] if isinstance(terms, Mapping) else [node]:
        if known := known_as(part):
            yield known


def few_labels(config: Config) -> Iterator[ConfigError]:
    """A model that is given every example's label cannot do with some of them."""
    model, known = of(config, "model"), look(config, "data.labelled")
    if known is not None and model and (look(config, "model.conditional") or model.constants.get("conditional")):
        reason = f"{model.name} is given the label of every example here; ssl_gan and ssl_vae learn from some of them"
        yield ConfigError("data.labelled", known, reason)


def double_backward(config: Config) -> Iterator[ConfigError]:
    """A gradient penalty differentiates twice; squared gradients leave the range of 16-bit floats."""
    precision = str(look(config, "trainer.precision"))
    for penalty in penalties(config) if precision == "16-mixed" else ():
        if penalty.constants.get("twice"):
            reason = f"{penalty.name} squares gradients, which overflow in 16-bit floats"
            yield ConfigError("trainer.precision", precision, reason, "bf16-mixed")


def device(config: Config) -> Iterator[ConfigError]:
    """What a CPU cannot do."""
    if look(config, "trainer.accelerator") != "cpu":
        return
    if str(look(config, "trainer.precision")).startswith("16"):
        yield ConfigError("trainer.precision", look(config, "trainer.precision"), "a CPU has no fp16", "bf16-mixed")
    if look(config, "trainer.strategy") == "fsdp":
        yield ConfigError("trainer.strategy", "fsdp", "sharding needs GPUs, and trainer.accelerator=cpu", "ddp")


def output_distribution(config: Config) -> Iterator[ConfigError]:
    """A Bernoulli variable has two values; one of whole pixels takes a net that makes one after the other."""
    choice, given = look(config, "model.likelihood"), levels(config)
    known = likelihoods()
    if isinstance(choice, str) and choice not in known:
        reason = f"no such output distribution; there are {', '.join(known)}"
        yield ConfigError("model.likelihood", choice, reason, nearest(choice, known))
    if choice in ("bernoulli", "categorical", "discretised_logistic") and kind(config) == "vector":
        reason = f"for {'binary data' if choice == 'bernoulli' else 'whole numbers'}; these are continuous"
        yield ConfigError("model.likelihood", choice, reason, "gaussian")
    if choice == "bernoulli" and given is not None and given > 2:
        reason = f"for binary data; these have {given} levels (data.binarize=dynamic makes them binary)"
        yield ConfigError("model.likelihood", choice, reason, "categorical")
    target = str((config.get("model") or {}).get("_target_", ""))
    another = target.startswith("genlab.models.") and not target.startswith("genlab.models.autoregressive.")
    if choice == "coupled_logistic_mixture" and (another or kind(config) == "vector"):
        reason = "a distribution of whole pixels, which auto-regressive nets of images alone give one after the other"
        yield ConfigError("model.likelihood", choice, reason, "logistic_mixture")


def playing(config: Config) -> Iterator[ConfigError]:
    """Options of single players are of those that play."""
    given = look(config, "training.players")
    known = keys_of(str((config.get("model") or {}).get("_target_", "")), "players")
    for player in given if isinstance(given, Mapping) and known else ():
        if player not in known:
            reason = f"no such player; there are {', '.join(known)}"
            yield ConfigError(f"training.players.{player}", "{...}", reason, nearest(player, known))


def bit_depth(config: Config) -> Iterator[ConfigError]:
    """Coarser levels than the makers', and two at least."""
    data = of(config, "data")
    if data is None or kind(config) != "image":
        return
    given, native = config["data"].get("levels"), data.constants.get("native_levels")
    if is_number(given) and given != 2 and config["data"].get("binarize", "none") != "none":
        yield ConfigError("data.levels", given, f"data.binarize={config['data']['binarize']} makes them two", "2")
    if is_number(given) and is_number(native) and not 2 <= given <= native:
        yield ConfigError("data.levels", given, f"{data.name} takes 2 to {native} levels")


def classes_of_data(config: Config) -> Iterator[ConfigError]:
    """Classes by name or number, where the class of the data set lists them."""
    data, chosen = of(config, "data"), look(config, "data.classes")
    names: Any = (data.constants.get("class_names") if data else None) or ()
    for given in chosen if isinstance(chosen, list) and names else ():
        if number_of(given, names) is None:
            yield ConfigError("data.classes", given, f"the classes are {', '.join(names)}", nearest(given, names))


def needed(config: Config) -> Iterator[ConfigError]:
    """Options that have no default worth having, as a class says by ``needed``."""
    data = of(config, "data")
    for name, advice in ((data.constants.get("needed") if data else None) or {}).items():
        if look(config, f"data.{name}") in (None, ""):
            yield ConfigError(f"data.{name}", look(config, f"data.{name}"), advice)
    path = look(config, "data.path")
    if isinstance(path, str) and path and data is not None and "path" in (data.constants.get("needed") or ()):
        root = look(config, "data.root") or os.environ.get("GENLAB_DATA") or "~/.cache/genlab"
        places = [Path(path).expanduser(), Path(str(root)).expanduser() / path]
        if not any(place.is_dir() for place in places):
            near = nearest(Path(path).name, [other.name for other in places[0].absolute().parent.glob("*/")])
            layout = "wanted is a tree of images: a subfolder a class, or train/ and val/ with these in them"
            file = any(place.exists() for place in places)
            reason = ("a file" if file else f"no such folder, neither here nor in {root}") + f"; {layout}"
            yield ConfigError("data.path", path, reason, str(Path(path).parent / near) if near else "")


def budget(config: Config) -> Iterator[ConfigError]:
    """Training that would never end."""
    if not isinstance(config.get("trainer"), Mapping):
        return
    if all(look(config, f"trainer.{name}") is None for name in ("max_steps", "max_epochs", "max_time")):
        yield ConfigError("trainer", "no budget", "give trainer.max_steps=, trainer.max_epochs= or trainer.max_time=")


def whole(config: Config) -> Iterator[ConfigError]:
    """Parts without which there is nothing to train."""
    choices = config.get("choices") or {}
    for name in ("model", "training", "data", "loss", "penalty", "optimizer", "trainer", "logger"):
        group = "model" if name == "training" else name
        node, chosen = config.get(name), choices.get(group)
        nameless = not isinstance(node, Mapping) or not node.get("_target_")
        if chosen and nameless and (node or name != "logger"):
            near = nearest("_target_", node) if isinstance(node, Mapping) else ""
            slip = f", but a {near}" if near else ""
            yield ConfigError(group, chosen, f"it has no {name}._target_, the class of its {name}{slip}")


def patience(config: Config) -> Iterator[ConfigError]:
    """A game has no validation figure that could get better, nor has an auto-encoder."""
    training, model, given = of(config, "training"), of(config, "model"), look(config, "trainer.patience")
    if given is not None and training is not None and "Adversarial" in training.bases:
        yield ConfigError("trainer.patience", given, "a game has no validation figure to wait for")
    elif given is not None and model is not None and unscored(model):
        yield ConfigError("trainer.patience", given, f"{model.name} has no likelihood to wait for")


def in_range(config: Config) -> Iterator[ConfigError]:
    """Numbers that cannot be."""
    yield from ranges(partial(look, config))
    data = of(config, "data")
    for name in (data.constants.get("positive") or ()) if data else ():
        value = look(config, f"data.{name}")
        if is_number(value) and not 0 < value < math.inf:
            yield ConfigError(f"data.{name}", value, "must be a positive number")


def logger_extra(config: Config) -> Iterator[ConfigError]:
    """TensorBoard is a package of its own."""
    node = config.get("logger")
    target = str(node.get("_target_", "")) if isinstance(node, Mapping) else ""
    if target.endswith("TensorBoardLogger") and not (find_spec("tensorboard") or find_spec("tensorboardX")):
        yield ConfigError("logger", "tensorboard", "not installed; pip install 'genlab[tensorboard]'", "csv")


def own_requirements(config: Config) -> Iterator[ConfigError]:
    """What classes named in the config say they require."""
    for key, node in nodes(config):
        known = signature(node["_target_"]) if isinstance(node["_target_"], str) else None
        requires = known.constants.get("requires") if known else None
        for needed, admitted in (requires or {}).items():
            admitted = admitted if isinstance(admitted, (list, tuple)) else (admitted,)
            value = look(config, needed)
            if value is not None and value not in admitted:
                assert known is not None
                reason = f"{known.name} takes {needed}={'|'.join(map(str, admitted))}, and here it is {value}"
                if needed == "data.kind" and not set(admitted) & set(KINDS):
                    reason += f"; no data are of another kind than {', '.join(KINDS)}"
                yield error(config, key.partition(".")[0], reason)


def nodes(node: Any, key: str = "") -> Iterator[tuple[str, Mapping[str, Any]]]:
    """All nodes with a ``_target_``, and their keys."""
    if isinstance(node, Mapping):
        if "_target_" in node:
            yield key, node
        for name, value in node.items():
            yield from nodes(value, f"{key}.{name}" if key else str(name))
    elif isinstance(node, (list, tuple)):
        for position, value in enumerate(node):
            yield from nodes(value, f"{key}.{position}")


def error(config: Config, group: str, reason: str, suggestion: str = "") -> ConfigError:
    """About the option taken of a group."""
    chosen = (config.get("choices") or {}).get(group)
    return ConfigError(group, chosen if chosen is not None else config[group].get("_target_"), reason, suggestion)


RULES: tuple[Callable[[Config], Iterator[ConfigError]], ...] = (
    way_of_training,
    constraint,
    energies,
    imitation,
    few_labels,
    double_backward,
    device,
    output_distribution,
    bit_depth,
    playing,
    classes_of_data,
    needed,
    budget,
    whole,
    patience,
    in_range,
    own_requirements,
    logger_extra,
)
