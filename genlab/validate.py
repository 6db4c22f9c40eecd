"""Every mistake of a command line and its config in one message, before torch is imported.

Groups, keys, types, targets and contradictions are checked against the files under ``conf/`` and the signatures of what
the config names, read from source. A mistaken group does not hide the rest: the nearest option takes its place.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genlab import config
from genlab.choices import wrong_nets
from genlab.config import Composed
from genlab.errors import ConfigError, nearest
from genlab.presets import based, file_of, groups, picks
from genlab.presets import read as read_file
from genlab.run import no_run, settled
from genlab.signatures import signature
from genlab.validation.blame import composable
from genlab.validation.composing import compose, composition, within
from genlab.validation.contradictions import contradictions
from genlab.validation.defaults import mend_files, of_a_run, unadded
from genlab.validation.launchers import foreign
from genlab.validation.mistakes import BARE, PICKED, Problems, check_target, mistakes
from genlab.validation.origin import Origin
from genlab.validation.words import STANDS_IN, TYPED, Word, admit_plugins, mend_groups, overrides, read

PARAMS = "hydra.sweeper.params."
JOBS = 64  # of a sweep that are checked one by one


@dataclass(frozen=True)
class Checked:
    """A command line without mistakes.

    Attributes:
        overrides: as Hydra shall see them: keys that only the target's signature knows are added.
        jobs: what it composes to; several in a sweep.
        plugins: packages and folders that it names.
        constant: keys that are the same in all jobs of a sweep.
        names: of the jobs, the words that tell them apart.
        beyond: jobs of a sweep beyond those that are checked one by one.
    """

    overrides: list[str]
    jobs: list[Composed]
    plugins: list[str]
    constant: list[str]
    names: list[str]
    beyond: int

    @property
    def config(self) -> dict[str, Any]:
        """Of the only job."""
        return self.jobs[0].config


def check(
    typed: Sequence[str], folders: Sequence[str] = (), *, multirun: bool = False, advice: str = "add -m"
) -> Checked:
    """Check the words of ``genlab train``.

    Args:
        typed: overrides as typed.
        folders: of ``--config-dir``.
        multirun: values may be sweeps.
        advice: what to do about a sweep where there may be none.

    Raises:
        ConfigErrors: all mistakes in it.
    """
    problems = Problems()
    words = read(typed, folders, problems)
    if not multirun:
        for word in words:
            if len(word.values) > 1:
                value = word.rest.partition("=")[2]
                problems.add(ConfigError(word.key, value, f"several values are a sweep: {advice}", "", TYPED))
        words = [replace(word, values=word.values[:1]) for word in words]
    for word in words:
        if len(set(word.values)) < len(word.values):
            problems.add(ConfigError(word.key, ",".join(word.values), "names a value twice", "", TYPED))
    for word in [word for word in words if word.key.startswith(PARAMS)]:
        key, value = word.key.removeprefix(PARAMS), word.rest.partition("=")[2]
        problems.add(ConfigError(word.key, value, "of a file; what is typed needs no more", f"{key}={value}", TYPED))
        words.remove(word)
    words = mend_groups(unadded(words, problems), folders, problems)
    words, copies, own = mend_files(words, folders, problems)
    plugins = admit_plugins(words, problems)
    copies = composable(words, folders, copies, own, problems)
    with config.in_place(copies):
        checked = check_jobs(words, plugins, folders, problems, "" if multirun else advice)
    problems.stop()
    return checked


def check_jobs(
    words: Sequence[Word], plugins: list[str], folders: Sequence[str], problems: Problems, advice: str
) -> Checked:
    """What the words compose to, every combination of values checked; ``advice`` as ``declared`` takes it."""
    varied = declared(words, folders, problems, advice)
    typed_last = {word.key: word for word in words}
    swept = [typed_last.get(word.key, word) for word in varied]  # in the order of Hydra's jobs
    swept += [word for word in words if word.key not in {word.key for word in varied}]
    added: dict[str, str] = {}
    dropped: set[Word] = set()
    jobs, names, left_out = [], [], Problems()
    for choice in itertools.islice(itertools.product(*(word.values or ("",) for word in swept)), JOBS):
        job = [replace(word, values=(value,)) for word, value in zip(swept, choice, strict=True)]
        chosen = {(word.key, word.values[0]) for word in job}
        job = [word for word in job if word.under is None or word.under in chosen]
        composed = check_job(job, folders, own := Problems(), added, dropped)
        skipped = composed is not None and is_left_out(composed, own)
        for error in own.found.values():
            (left_out if skipped else problems).add(error)
        if composed is not None and not skipped:
            jobs.append(composed)
            apart = zip(swept, choice, strict=True)
            names.append(" ".join(f"{word.key}={value}" for word, value in apart if len(word.values) > 1))
    for error in left_out.found.values() if not jobs else ():
        problems.add(error)
    for word in varied:
        if word.key in added and word.key not in typed_last:
            reason = f"Hydra adds a key that no file lists as {added[word.key]}{word.key}"
            problems.add(ConfigError(f"hydra.sweeper.params.{word.key}", ",".join(word.values), reason))
    basic = jobs and jobs[0].hydra["sweeper"].get("_target_") == config.BASIC_SWEEPER
    if basic and not any(word.key == "hydra/sweeper" for word in words):
        for word in words:
            if word.values == ("",):
                value, reason = word.rest.partition("=")[2], "an interval is for sweepers that search; write range(...)"
                problems.add(ConfigError(word.key, value, reason, "", word.source))
    overrides = [added.get(word.key, word.prefix) + word.rest for word in words]
    constant = [word.key for word in swept if len(word.values) < 2 and not word.key.startswith(("hydra.", "hydra/"))]
    beyond = max(0, math.prod(max(1, len(word.values)) for word in swept) - JOBS)
    return Checked(overrides, jobs, plugins, constant, names, beyond)


def is_left_out(composed: Composed, problems: Problems) -> bool:
    """Whether a combination of a sweep cannot work, by nothing but contradictions, and its experiment says of such ones
    ``skip_refused: true``."""
    if not problems.found or not composed.config.get("skip_refused"):
        return False
    return set(problems.found) <= {error.setting for error in contradictions(composed.config)}


def declared(words: Sequence[Word], folders: Sequence[str], problems: Problems, advice: str) -> list[Word]:
    """What the config itself varies, as an experiment may by ``hydra.sweeper.params``; with ``advice`` what to do about
    it a problem, and then the first value of each stands for it."""
    heads = [word for word in words if word.group or word.key.startswith(("hydra.", "hydra/"))]
    # Hydra, too, reads this from a config without what is swept; what is wrong with it is told where jobs are checked
    head = composition([word for word in heads if len(word.values) == 1], folders, Problems(), set())
    if head is None:
        return []
    origin, varied = Origin(words, folders, head), []
    for key, values in head.varied.items():
        varied += read([f"{key}={values}"], folders, problems, origin.of("hydra.sweeper.params"))
    varied = mend_groups(varied, folders, problems)
    typed = {word.key for word in words}
    runs = math.prod(len(word.values) for word in varied if word.key not in typed)
    if not advice or runs == 1:
        return varied
    chosen = head.choices.get("experiment")
    if any(word.key == "experiment" and chosen and chosen not in word.rest for word in words):
        return [replace(word, values=word.values[:1]) for word in varied]  # one that stands in for a slip
    key, value = ("experiment", chosen) if chosen else ("hydra.sweeper.params", ",".join(head.varied))
    problems.add(ConfigError(key, value, f"a sweep of {runs} runs: {advice}", "", TYPED))
    return [replace(word, values=word.values[:1]) for word in varied]


def check_job(
    words: Sequence[Word], folders: Sequence[str], problems: Problems, added: dict[str, str], dropped: set[Word]
) -> Composed | None:
    """Check one combination of values; None where it does not compose. Keys that the config does not list but its
    target takes are entered in ``added``, words that nothing composes with in ``dropped``, for the next combination."""
    words = [word for word in words if word not in dropped]
    composed, taken = compose(words, folders, own := Problems(), added, dropped)
    doubtful = {word.key for word in words if word.rest == STANDS_IN}
    doubtful |= {"training"} if "model" in doubtful else set()
    for error in own.found.values():
        if told_of(error.key, doubtful, folders):
            problems.add(error)
    if composed is None:
        return None
    composed = replace(composed, config=settled_whole(composed, words))
    origin = Origin(words, folders, composed)
    nets = list(wrong_nets(composed.config, composed.targets))
    hanging = {key for _, keys in nets for key in keys}
    named = [*strays(composed, folders), *(net for net, _ in nets), *start(composed.config), *foreign(composed.hydra)]
    if (trusting := composed.config.get("plugins")) and not any(word.key == "plugins" for word in words):
        named.append(ConfigError("plugins", trusting, "no file makes anything trusted; what you trust is typed"))
    # what a model picks stands in for an option that is none, but not for what a file says that cannot be read
    unread = {word.key for word in words if word.rest == STANDS_IN and not word.slip}
    known = "model" not in doubtful and not unread & {*PICKED}
    for error in [*named, *mistakes(composed.config, without_slips(composed, taken, folders, dropped), known=known)]:
        if told_of(error.key, doubtful, folders) and error.key not in hanging:
            source = error.source or origin.of(error.key)
            problems.add(ConfigError(error.key, error.value, error.reason, error.suggestion, source))
    return composed


def told_of(key: str, doubtful: set[str], folders: Sequence[str]) -> bool:
    """Whether a mistake at a key is one whichever option was meant of a group of which that is ``doubtful``: no option
    takes the key."""
    group, _, name = key.partition(".")
    if group not in doubtful:
        return True
    if not name or "." in name or name == "_target_":
        return False
    options = groups(folders).get(group, ())
    targets = {str(read_file(file_of(group, option, folders)).get("_target_")) for option in options}
    return all((known := signature(target)) and name not in known.arguments for target in targets)


def without_slips(
    composed: Composed, taken: Sequence[Word], folders: Sequence[str], dropped: set[Word]
) -> dict[str, Any] | None:
    """The config with what the model picks in the place of slips, for what contradicts; None where there is no slip."""
    slips = [word for word in taken if (word.slip and word.key in PICKED) or misdirected(word)]
    if not slips:
        return None
    picked = of_the_model(composed.choices.get("model"), folders)
    kept = [replace(word, values=(picked.get(word.key, ""),)) if word in slips else word for word in taken]
    own = composition(kept, folders, Problems(), dropped)
    return settled_whole(own, taken) if own else None


def of_the_model(model: Any, folders: Sequence[str]) -> dict[str, str]:
    """What a model picks of other groups; what every run has where it picks nothing, or its files do not tell."""
    picked = of_a_run()
    with contextlib.suppress(ConfigError):
        for path in based("model", str(model), folders):
            picked |= picks(path, folders)
    return picked


def misdirected(word: Word) -> bool:
    """Does it name a target that is not trusted or not there? What it hides is seen without it."""
    target = word.values[0].strip("\"'") if word.values else ""
    return word.key.endswith("._target_") and check_target(word.key, target) is not None


def settled_whole(composed: Composed, words: Sequence[Word]) -> dict[str, Any]:
    """The config with what was chosen, and of steps and epochs what was typed."""
    return settled(composed.config | {"choices": composed.choices}, overrides(words))


def strays(composed: Composed, folders: Sequence[str]) -> Iterator[ConfigError]:
    """Keys that nothing reads: no group's, none of genlab's own, and no variable that another value refers to."""
    known = {*BARE, *(group.partition("/")[0] for group in groups(folders)), "training", "choices"} - {"recipe"}
    for key, value in composed.config.items():
        if key not in known and key not in composed.referred:
            near = nearest(key, known) or within(key, composed.config)
            shown = "{...}" if isinstance(value, Mapping) else value
            yield ConfigError(key, shown, f"no such group or key as '{key}'", near)


def start(config: Mapping[str, Any]) -> Iterator[ConfigError]:
    """The run or checkpoint that a training starts from must be there; later, when it goes on, it need not."""
    given = config.get("init_from")
    if isinstance(given, str) and not Path(given).is_file() and not any(Path(given).glob("checkpoints/*.ckpt")):
        near = no_run(given).suggestion if not Path(given).exists() else ""
        yield ConfigError("init_from", given, "no checkpoint there, neither a file nor a run that has one", near)
