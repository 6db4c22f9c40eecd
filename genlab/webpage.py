"""The report as one HTML page that needs no other file: table, protocols, samples side by side, curves.

It loads nothing and runs nothing, and says so to the browser: what stands in a run's folder is text or a picture.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from genlab import __version__
from genlab.curves import Panel, as_svg, of_checkpoints, of_training
from genlab.repetitions import group
from genlab.run import Run, title
from genlab.tables import MARKS, Table

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
STYLE = """
:root { color-scheme: light dark; --line: #8886; --quiet: #666; --paper: white; }
@media (prefers-color-scheme: dark) { :root { --quiet: #aaa; --paper: #121212; } }
* { box-sizing: border-box; }
body { background: var(--paper); font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem;
  padding: 0 1rem; }
h1 { font-size: 1.6rem; } h2 { font-size: 1.25rem; margin-top: 2.5rem; }
h3 { font-size: 1rem; font-weight: 600; margin: 1.5rem 0 .3rem; overflow-wrap: anywhere; }
h3 small { color: var(--quiet); font-weight: 400; }
div.wide { margin-bottom: 1.5rem; overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .8rem; text-align: left; vertical-align: top; }
tr > :first-child { background: var(--paper); left: 0; padding-left: 0; position: sticky; }
.figure, .about { text-align: right; } .figure { white-space: nowrap; }
.about { max-width: 15rem; overflow-wrap: break-word; }
thead th, tbody th { font-weight: 600; }
p.quiet, ul.protocol { color: var(--quiet); font-size: .85rem; }
ul.protocol { padding-left: 1.2rem; } ul.protocol b { font-weight: 600; } ul.protocol li { overflow-wrap: anywhere; }
.samples { display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fill, minmax(min(20rem, 100%), 1fr)); }
.samples .broad { grid-column: 1 / -1; }
.curves { display: grid; gap: .8rem; grid-template-columns: repeat(auto-fill, minmax(min(18rem, 100%), 1fr)); }
.curves svg { height: auto; max-width: 24rem; width: 100%; }
svg text { fill: currentColor; }
figure { break-inside: avoid; margin: 0; }
figure img { border-radius: 4px; height: auto; image-rendering: pixelated; max-width: 100%; }
figure.broad img { image-rendering: auto; }
figcaption { font-size: .85rem; overflow-wrap: anywhere; } figcaption small { color: var(--quiet); }
@media print { :root { color-scheme: light; --paper: white; --quiet: #444; }
  body { font-size: 10pt; margin: 0; max-width: none; } h2, h3 { break-after: avoid; }
  div.wide { overflow: visible; } table { font-size: 7pt; } th, td { padding: .1rem .3rem; }
  tr, .curves svg { break-inside: avoid; } .about { max-width: 6rem; overflow-wrap: anywhere; }
  .curves, .samples { grid-template-columns: repeat(3, 1fr); } }
"""
PICTURES = ("final.png", "grid.png")
BROAD = 1.5  # width over height of a picture that takes a line of its own


def page(table: Table, runs: Sequence[Run]) -> str:
    """The page as text."""
    count = f"{len(runs)} run{'s' * (len(runs) != 1)}"
    told = [(run, name(run, found.detail)) for found in group(runs) for run in found.runs]
    sections = [
        ("Sweeps", gallery(map(sweep, dict.fromkeys(run.path.parent for run in runs)))),
        ("Samples", gallery(portrait(run, about) for run, about in told)),
        ("Figures over checkpoints", "".join(curves(run, about, of_checkpoints(run)) for run, about in told)),
        ("Training", "".join(curves(run, about, of_training(run)) for run, about in told)),
    ]
    body = "\n".join(f"<section><h2>{heading}</h2>\n{content}</section>" for heading, content in sections if content)
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>genlab report</title>
<style>{STYLE}</style></head>
<body>
<h1>genlab report</h1>
<p class="quiet">{count}, genlab {escape(__version__)}</p>
<section><h2>Figures</h2>
{"".join(f'<div class="wide">{grid(part)}</div>' for part in table.parts("data").values())}
<p class="quiet">{escape(MARKS)}</p>
<details open><summary>Protocols</summary><ul class="protocol">{"".join(map(protocol, table.caption))}</ul></details>
</section>
{body}
</body>
</html>
"""


def grid(table: Table) -> str:
    """The table, the name of each line a head of its own."""
    titles, rows, left = table.fitted()
    about = len(table.texts) if left == 1 else 0  # lines that are text, in a table that is turned over

    def line(cells: Sequence[str], number: int) -> str:
        kind = "about" if number < about else "figure"
        made = []
        for column, cell in enumerate(cells):
            tag = "th" if number == 0 or column == 0 else "td"
            made.append(f"<{tag}{'' if column < left else f' class={kind!r}'}>{escape(cell)}</{tag}>")
        return f"<tr>{''.join(made)}</tr>"

    head, *body = [line(cells, number) for number, cells in enumerate([titles, *rows])]
    return f"<table><thead>{head}</thead>\n<tbody>{chr(10).join(body)}</tbody></table>"


def protocol(line: str) -> str:
    """A line of the caption; what it is of stands out."""
    of, colon, rest = line.partition(": ")
    return f"<li><b>{escape(of)}</b>{colon}{escape(rest)}</li>" if colon else f"<li>{escape(line)}</li>"


def gallery(figures: Iterable[str]) -> str:
    """Pictures side by side; nothing of nothing."""
    content = "".join(figures)
    return f'<div class="samples">{content}</div>' if content else ""


def sweep(folder: Path) -> str:
    """The curve that a sweep ended in; nothing where it ended in none."""
    path = folder / "curve.png"
    return shown(path, "curve of a sweep", os.path.relpath(folder)) if path.is_file() else ""


def portrait(run: Run, about: str) -> str:
    """The samples of a run; what it is, below."""
    path = pictured(run)
    if path is None:
        return f"<figure><p>no picture of samples</p><figcaption>{escape(about)}</figcaption></figure>"
    return shown(path, f"samples of {title(run.config)}", about, place(run))


def shown(path: Path, what: str, about: str, quiet: str = "") -> str:
    """A picture; one that is broad takes a line of its own."""
    if path.read_bytes()[-8:-4] != b"IEND":
        return f"<figure><p>{escape(path.name)} is damaged</p><figcaption>{escape(about)}</figcaption></figure>"
    width, height = size(path)
    broad = ' class="broad"' if width > BROAD * height else ""
    picture = f'<img alt="{escape(what)}" width="{width}" src="{embedded(path)}">'
    caption = escape(about) + (f"<br><small>{escape(quiet)}</small>" if quiet else "")
    return f"<figure{broad}>{picture}<figcaption>{caption}</figcaption></figure>"


def pictured(run: Run) -> Path | None:
    """The picture that training ended with, one that was drawn, or the latest on the way."""
    ways = sorted(run.samples.glob("step_*.png"), reverse=True)
    return next((path for path in [*(run.samples / each for each in PICTURES), *ways] if path.is_file()), None)


def curves(run: Run, about: str, panels: Sequence[Panel]) -> str:
    """Panels of a run under its name; nothing where there is none."""
    if not panels:
        return ""
    drawn = "".join(map(as_svg, panels))
    return f'<h3>{escape(about)} <small>{escape(place(run))}</small></h3><div class="curves">{drawn}</div>\n'


def name(run: Run, detail: str) -> str:
    """Model, data, what it differs from others in, seed and step."""
    seed, step = run.config.get("seed", "?"), run.info.get("step", "?")
    return ", ".join([title(run.config), *([detail] if detail else []), f"seed {seed}", f"step {step}"])


def place(run: Run) -> str:
    """The folder, from here."""
    return os.path.relpath(run.path)


def size(path: Path) -> tuple[int, int]:
    """Width and height of a PNG, from its head."""
    head = path.read_bytes()[16:24]
    return int.from_bytes(head[:4], "big"), int.from_bytes(head[4:], "big")


def embedded(path: Path) -> str:
    """A PNG as a data address."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
