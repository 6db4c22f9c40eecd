"""How Lightning writes and reads checkpoints here: atomically, and as plain data."""

from pathlib import Path
from typing import Any

from pytorch_lightning.plugins.io import CheckpointIO

from genlab import checkpoint


class AtomicIO(CheckpointIO):
    """Temporary name, then rename, in the same folder (Lightning's own goes by way of the system's temporary folder,
    which is another file system as often as not)."""

    def save_checkpoint(self, checkpoint_: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        checkpoint.write(Path(path), checkpoint_)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return checkpoint.read(path)

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)
