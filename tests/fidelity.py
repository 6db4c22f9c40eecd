"""torch-fidelity as a reference: its formulas alone, without its image pipeline and without torchvision.

``GENLAB_FIDELITY`` names the folder that it was put into, so that nothing else sees it:

    pip install --no-deps --target ~/.cache/torch-fidelity torch-fidelity==0.4.0

For torchmetrics imports it wherever it is installed, and torch-fidelity imports torchvision, which genlab has not and
whose wheels fail beside another build of torch (``operator torchvision::nms does not exist``); then neither genlab nor
Lightning can be imported. Where both are installed and work, the folder need not be named.

Of what is needed here only its ``__init__`` and ``utils`` ask for torchvision. So the package stands as a bare folder
whose ``utils`` hold nothing: ``metric_*``, ``feature_extractor_inceptionv3`` and ``interpolate_compat_tensorflow`` then
import with torch alone.
"""

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType

import pytest

VERSION = "0.4.0"


class Nothing(ModuleType):
    """A module from which any name can be imported, and no name does anything."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)


def fidelity(module):
    """A module of torch-fidelity such as ``metric_kid``; the test is skipped where there is none of that version."""
    try:
        return reference(module)
    except LookupError as error:
        pytest.skip(str(error))


def reference(module):
    """A module of torch-fidelity.

    Raises:
        LookupError: there is none of that version.
    """
    if "torch_fidelity" not in sys.modules:
        places = [Path(os.environ["GENLAB_FIDELITY"])] if "GENLAB_FIDELITY" in os.environ else map(Path, sys.path)
        found = [place / "torch_fidelity" for place in places if (place / "torch_fidelity").is_dir()]
        if not found:
            raise LookupError("there is no torch-fidelity; tests/fidelity.py says how to get it")
        package, sys.modules["torch_fidelity.utils"] = ModuleType("torch_fidelity"), Nothing("torch_fidelity.utils")
        package.__path__ = [str(found[0])]
        package.__spec__ = importlib.util.spec_from_file_location("torch_fidelity", found[0] / "__init__.py")
        sys.modules["torch_fidelity"] = package
    version = importlib.import_module("torch_fidelity.version").__version__
    if version != VERSION:
        raise LookupError(f"torch-fidelity is {version}, and these figures are those of {VERSION}")
    return importlib.import_module(f"torch_fidelity.{module}")
