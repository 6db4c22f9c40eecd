"""metrics.csv: one row a logged step, columns as they come, no row twice after a resume."""

import csv
from collections.abc import Mapping
from pathlib import Path

from genlab.errors import GenlabError
from genlab.files import atomic


def read(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    """Columns and rows of a metrics.csv: a step and numbers, as text, empty where a row has none. A line that does not
    end was cut by a kill, and is none.

    Raises:
        GenlabError: it is damaged.
    """
    lines = path.read_bytes().decode(errors="replace").splitlines(keepends=True)
    reader = csv.DictReader([line for line in lines if line.endswith("\n")], restval="")
    columns, rows = list(reader.fieldnames or ["step"]), list(reader)
    wrong = [number for number, row in enumerate(rows, 2) if not sound(row)]
    if wrong or "step" not in columns:
        where = f"line {wrong[0]}" if "step" in columns else "its first line"
        raise GenlabError(f"{path}: not as training wrote it, {where}; delete it, and the run goes on with a new one")
    return columns, rows


def sound(row: Mapping[str | None, str]) -> bool:
    """Is it a step and numbers?"""
    try:
        numbers = [float(text) for text in row.values() if text]
    except (TypeError, ValueError):  # of more values than columns the last ones are a list
        return False
    return bool(numbers) and row.get("step", "").isdigit()


class Journal:
    """Rows are appended; the file is rewritten only when a new column appears or rows are taken back.

    Args:
        path: of the file.
        step: rows after this step are dropped: a run that goes on from a checkpoint logs them again.

    Raises:
        GenlabError: the file is damaged.
    """

    def __init__(self, path: Path, step: int = 0):
        self.path = path
        self.columns = ["step"]
        self.rows: list[dict[str, str]] = []
        if path.is_file():
            self.columns, rows = read(path)
            self.rows = [row for row in rows if int(row["step"]) <= step]
            self._rewrite()

    def write(self, step: int, values: Mapping[str, float]) -> None:
        """One row; a second call with the same step adds to it."""
        row = {"step": str(step), **{name: f"{value:.6g}" for name, value in values.items()}}
        new = [name for name in row if name not in self.columns]
        self.columns += new
        if self.rows and self.rows[-1]["step"] == row["step"]:
            self.rows[-1] |= row
            self._rewrite()
            return
        self.rows.append(row)
        if new or not self.path.is_file():
            self._rewrite()
            return
        with self.path.open("a", newline="") as file:
            csv.DictWriter(file, self.columns, restval="").writerow(row)

    def _rewrite(self) -> None:
        with atomic(self.path) as partial, partial.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.columns, restval="")
            writer.writeheader()
            writer.writerows(self.rows)
