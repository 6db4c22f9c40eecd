"""What ``genlab --help`` says of each verb, and the flags that each takes. Only the standard library."""

from typing import NamedTuple

from genlab import __version__


class Verb(NamedTuple):
    """One verb: what it does in a line, and the body of its ``--help``."""

    summary: str
    usage: str
    flags: tuple[str, ...] = ()


VERBS = {
    "train": Verb(
        "train a model, or go on with a run",
        """genlab train [model=X] [data=X] [loss=X] [optimizer=X] [trainer=X] [logger=X] [experiment=X] [key=value ...]
genlab train -m model=vae,realnvp data=mnist     one run for each combination
genlab train run=FOLDER [trainer.max_steps=N]    go on with a run

  --dry-run          check everything; print parameters, shapes, budget and device; train nothing
  --json             print what --dry-run found as JSON
  -m, --multirun     sweep over comma-separated values; hydra/launcher=joblib and the like run jobs side by side
  --config-dir DIR   search DIR for configs of your own, too
  --cfg job          print the composed config (--resolve, --package P)
  --hydra-help       Hydra's own flags, all of which work

Groups are listed by `genlab list`; every key of a config, and every argument of what it names, can be set:
trainer.max_steps=2000  optimizer.lr=1e-4  data.size=32  model.latent=64  seed=1  compile=true
plugins=[mine] admits classes of your package `mine`; plugins=[/path/to/folder] those of the packages in a folder.""",
        ("--dry-run", "--json"),
    ),
    "sample": Verb(
        "draw samples from a run or a checkpoint",
        """genlab sample run=FOLDER [n=64] [seeds=0-63] [y=3] [temperature=1.0] [task=grid] [out=FOLDER] [--json]
genlab sample ckpt=FILE                          a checkpoint alone will do

  ckpt=best|last|STEP|FILE            of a run: best unless you say otherwise; a step that trainer.keep_every kept
  task=grid|interpolate|traverse|arithmetic|manipulate|inpaint|reconstruct|neighbours|duplicates|latents|manifold|
       posterior|density|warp|trajectories|critic|slopes|temperature|complete    what the model can do;
                     path=spherical|linear and ends=samples|test are of interpolate, terms=8-3+5 of arithmetic,
                     attribute=3 and strength=3 of manipulate, mask=centre|half|random|FILE of inpaint and complete
  y=3                class of the samples, where the model is conditional (model=realnvp model.conditional=true)
  level=1            of the codes that a hierarchical model reconstructs from or manipulates (model=hali); else all
  out=FOLDER                          for the picture and the numbers; the run's own samples/ unless you say otherwise
  plugins=[mine]     admits classes of your package, as in training
  --json             print what was written as JSON""",
        ("--json",),
    ),
    "eval": Verb(
        "measure runs: likelihoods, IS, FID",
        """genlab eval run=FOLDER[,FOLDER ...] [metrics=...] [n=2500] [k=500] [split=test] [key=value ...] [--json]
genlab eval ckpt=FILE                            a checkpoint alone will do

  run=FOLDER         of a run, of a sweep, or a glob; each run keeps its figures in its metrics.json
  ckpt=best|last|STEP|all|FILE        of a run: best unless you say otherwise; all: a row for each that is kept, and
                                      metrics.png, their figures over steps (trainer.keep_every=N keeps more)
  metrics=bpd,fid_digits              these alone; else all that the model and the data allow
  data=X             another data set than the run's own, of the same kind and shape
  samples=PLACE[,PLACE ...]           of other origin: folders of images, .npz files, globs; by data=X or beside runs
  real=train,test    real examples in the place of generated ones, as a control; else train, or none
  ensemble=true      also all runs as one classifier: its error, by the mean of their class probabilities
  --force            measure again what has been measured
  --config-dir DIR   search DIR for metrics and extractors of your own, too
  --json             print rows {run, model, data, step, metrics} as JSON""",
        ("--json", "--force"),
    ),
    "report": Verb(
        "one table of any set of runs",
        """genlab report FOLDER [FOLDER ...] [format=rich|csv|markdown|latex|html] [metrics=bpd,fid_digits] [--json]

Runs that differ in their seed alone are one row: mean and spread. What eval has not measured is not there.

  format=html out=FILE                one page with table, protocols, samples and curves; report.html by default

  --json             print the rows as JSON""",
        ("--json",),
    ),
    "check": Verb(
        "put a model through the laws every model obeys",
        """genlab check model=X [data=X] [key=value ...] [--config-dir DIR] [--json]

Gradients reach every parameter, samples depend on their seeds alone, saved models load, bijections invert,
densities integrate to one, auto-regressive nets are causal, bounds are ordered. The exit code is 1 where one is broken.

  --config-dir DIR   search DIR for configs of your own, too
  --json             print {law, verdict, text} of each as JSON""",
        ("--json",),
    ),
    "list": Verb(
        "what there is to choose from, and the card of one",
        """genlab list [models|data|losses|penalties|optimizers|trainers|loggers|experiments] [--json]
genlab list model=wgan_gp                        equation, reference, recipe and expected figures
genlab list refused                              losses, penalties and models that do not go together, and why

  --config-dir DIR   list configs of your own, too
  --json             print as JSON""",
        ("--json",),
    ),
    "completion": Verb(
        "print a script that completes genlab's words in your shell",
        """genlab completion bash|zsh|fish

  eval "$(genlab completion bash)"                in ~/.bashrc
  eval "$(genlab completion zsh)"                 in ~/.zshrc, after compinit
  genlab completion fish | source                 in ~/.config/fish/config.fish""",
    ),
}

# Hydra's flags: of one word, and those that take a value.
HYDRA_FLAGS = ("--hydra-help", "--resolve", "--run", "-r", "--multirun", "-m", "--shell-completion", "-sc")
HYDRA_VALUES = ("--cfg", "-c", "--package", "-p", "--config-path", "-cp", "--config-name", "-cn")
SHOWN = ("job", "hydra", "all")  # what --cfg may print
INFORMED = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")  # and --info, or nothing after it


def overview() -> str:
    """The text of ``genlab --help``."""
    verbs = "\n".join(f"  {name:<11} {verb.summary}" for name, verb in VERBS.items())
    return f"""genlab {__version__}: train, sample and evaluate deep generative models

usage: genlab VERB [key=value ...] [flags]

{verbs}

genlab train model=wgan_gp data=cifar10
genlab train -m model=vae,realnvp,pixelcnn,wgan_gp data=mnist

  --help      of genlab, or of a verb
  --version"""
