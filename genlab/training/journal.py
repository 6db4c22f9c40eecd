"""metrics.csv: one row a logged step, columns as they come, no row twice after a resume."""

import csv
from collections.abc import Mapping
from pathlib import Path

from genlab.run import atomic


class Journal:
    """Rows are appended; the file is rewritten only when a new column appears or rows are taken back.

    Args:
        path: of the file.
        step: rows after this step are dropped: a run that goes on from a checkpoint logs them again.
    """

    def __init__(self, path: Path, step: int = 0):
        self.path = path
        self.columns = ["step"]
        self.rows: list[dict[str, str]] = []
        if path.is_file():
            with path.open(newline="") as file:
                reader = csv.DictReader(file)
                self.columns = list(reader.fieldnames or self.columns)
                every = list(reader)
            self.rows = [row for row in every if row["step"].isdigit() and int(row["step"]) <= step]
            if len(self.rows) < len(every):
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
