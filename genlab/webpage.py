"""The report as one HTML page that needs no other file: table, protocols, sample grids side by side, loss curves."""

from __future__ import annotations

import base64
import os
from collections.abc import Sequence
from html import escape
from pathlib import Path

from genlab import __version__
from genlab.curves import curves
from genlab.run import Run, atomic, title
from genlab.tables import Table

STYLE = """
:root { color-scheme: light dark; --line: #8886; --quiet: #777; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 80rem; padding: 0 1rem; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
div.wide { overflow-x: auto; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .8rem; text-align: left; white-space: nowrap; }
td.figure, th.figure { text-align: right; }
ul.protocol { color: var(--quiet); font-size: .85rem; padding-left: 1.2rem; }
section.runs { display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fill, minmax(20rem, 1fr)); }
figure { margin: 0; } figure img, figure svg { width: 100%; height: auto; background: white; border-radius: 4px; }
figcaption { font-size: .85rem; color: var(--quiet); overflow-wrap: anywhere; }
@media print { body { max-width: none; } figure { break-inside: avoid; } }
"""
PICTURES = ("grid.png", "final.png")


def write(path: Path, table: Table, runs: Sequence[Run]) -> None:
    """Write the page, whole or not at all."""
    with atomic(path) as partial:
        partial.write_text(page(table, runs), encoding="utf-8")


def page(table: Table, runs: Sequence[Run]) -> str:
    """The page as text."""
    figures = "\n".join(portrait(run) for run in runs)
    caption = "".join(f"<li>{escape(line)}</li>" for line in table.caption)
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>genlab report</title>
<style>{STYLE}</style></head>
<body>
<h1>genlab report</h1>
<div class="wide">{grid(table)}</div>
<ul class="protocol">{caption}</ul>
<h2>Samples and curves</h2>
<section class="runs">
{figures}
</section>
<p class="protocol">genlab {__version__}</p>
</body>
</html>
"""


def grid(table: Table) -> str:
    """The table."""

    def line(cells: Sequence[str], tag: str) -> str:
        kinds = ["" if number < len(table.texts) else ' class="figure"' for number in range(len(cells))]
        return "<tr>" + "".join(f"<{tag}{k}>{escape(c)}</{tag}>" for c, k in zip(cells, kinds, strict=True)) + "</tr>"

    rows = "\n".join(line(row, "td") for row in table.cells())
    return f"<table><thead>{line([*table.texts, *table.figures], 'th')}</thead>\n<tbody>{rows}</tbody></table>"


def portrait(run: Run) -> str:
    """The samples of a run above its curves."""
    shown = next((path for name in PICTURES if (path := run.samples / name).is_file()), None)
    name, step = escape(title(run.config)), run.info.get("step", "?")
    picture = f'<img alt="samples of {name}" src="{embedded(shown)}">' if shown else "<p>no picture of samples</p>"
    told = f"{name}, step {step}: {escape(os.path.relpath(run.path))}"
    return f"<figure>{picture}{curves(run)}<figcaption>{told}</figcaption></figure>"


def embedded(path: Path) -> str:
    """A PNG as a data address."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()
