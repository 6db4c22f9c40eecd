"""``genlab check``: the laws put to the model of a config, its own data set or made-up examples of that look."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch

from genlab.errors import ConfigError
from genlab.laws import LAWS
from genlab.laws.base import BrokenError, Law, UnfitError
from genlab.laws.trial import STEPS, Trial, gather
from genlab.plugins import told
from genlab.run import title

HOLDS, BROKEN, UNFIT = "holds", "BROKEN", "does not apply"
COLOURS = {HOLDS: "green", BROKEN: "bold red", UNFIT: "dim"}


class Outcome(NamedTuple):
    """What became of one law: the verdict, and the figure or the reason."""

    law: str
    verdict: str
    text: str


def main(config: Mapping[str, Any], as_json: bool = False) -> int:
    """Put the laws to a composed config and print a line for each.

    Returns:
        The exit code: 1 where a law is broken.
    """
    found = examine(config)
    if as_json:
        print(json.dumps([outcome._asdict() for outcome in found], indent=1))
    else:
        show(found, title(config))
    broken = sum(outcome.verdict == BROKEN for outcome in found)
    if broken:
        print(f"{broken} of {len(found)} laws are broken", file=sys.stderr)
    return 1 if broken else 0


def examine(config: Mapping[str, Any]) -> list[Outcome]:
    """The outcome of every law, from building on.

    Raises:
        ConfigError: the config is wrong, so that there is no model.
    """
    data, examples, missing = gather(config["data"])
    spec = data.spec
    look = f"{spec.kind} {tuple(spec.shape)}, " + (f"{spec.levels} levels" if spec.levels else "continuous")
    with torch.random.fork_rng(devices=[]):
        found, trial = [], None
        try:
            trial = Trial(config, spec, None if missing else data, examples)
            found.append(
                Outcome("builds on the data's spec", HOLDS, look + (f"; made-up: {missing}" if missing else ""))
            )
            trial.train()
            losses = ", ".join(f"{name} {value:.4g}" for name, value in trial.losses.items())
            found.append(Outcome("losses of a few steps are finite", HOLDS, f"{STEPS} steps, {losses}"))
        except ConfigError:
            raise
        except Exception as error:
            said = ("builds on the data's spec", "losses of a few steps are finite")[len(found)]
            found.append(Outcome(said, BROKEN, told(error)))
            return found + [Outcome(law.says, UNFIT, "nothing to put it to") for law in LAWS]
        return found + [judge(law, trial) for law in LAWS]


def judge(law: Law, trial: Trial) -> Outcome:
    """One law's outcome; a model that fails in the middle breaks it."""
    if law.needs and not isinstance(trial.model, law.needs):
        names = " nor ".join(need.__name__ for need in law.needs)
        return Outcome(
            law.says, UNFIT, f"{type(trial.model).__name__} is {'neither ' if len(law.needs) > 1 else 'no '}{names}"
        )
    torch.manual_seed(0)
    try:
        return Outcome(law.says, HOLDS, law.test(trial))
    except UnfitError as reason:
        return Outcome(law.says, UNFIT, str(reason))
    except BrokenError as figure:
        return Outcome(law.says, BROKEN, str(figure))
    except Exception as error:
        return Outcome(law.says, BROKEN, told(error))


def show(found: list[Outcome], name: str) -> None:
    """The table on stdout."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console() if sys.stdout.isatty() else Console(width=1000)
    drawn = Table(title=name, title_justify="left", box=None, pad_edge=False)
    for column in ("law", "", "figure, or why not"):
        drawn.add_column(column, overflow="fold")
    for law, verdict, text in found:
        drawn.add_row(law, Text(verdict, style=COLOURS[verdict]), Text(text))
    console.print(drawn)
