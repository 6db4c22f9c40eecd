"""What every test stands on: nothing of the machine it runs on, and nothing beyond it."""

import atexit
import os
import shutil
import signal
import socket
import tempfile

import pytest

# Before anything imports torch: the nets of the tests are too small to share between cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", os.environ["OMP_NUM_THREADS"])
os.environ |= {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}

# A shell starts what runs in its background deaf to Ctrl-C, and so would be all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The tests may themselves run in a job of a scheduler or with a user's settings.
for name in [*os.environ]:
    if name.startswith("SLURM_") or name in ("RANK", "LOCAL_RANK", "WORLD_SIZE", "WANDB_API_KEY", "GENLAB_DEBUG"):
        del os.environ[name]

# Without a data root the tests of the real sets are skipped; no test writes into the user's own.
if not os.environ.get("GENLAB_DATA"):
    os.environ["GENLAB_DATA"] = tempfile.mkdtemp(prefix="genlab-data-")
    atexit.register(shutil.rmtree, os.environ["GENLAB_DATA"], ignore_errors=True)


@pytest.fixture(autouse=True)
def _nothing_beyond_this_machine(monkeypatch):
    """Connections to other machines fail; servers that a test starts itself are reached."""
    connect = socket.socket.connect

    def local(self, address):
        if self.family in (socket.AF_INET, socket.AF_INET6) and address[0] not in ("127.0.0.1", "::1", "localhost"):
            raise OSError(f"a test tried to reach {address[0]}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", local)


@pytest.fixture(autouse=True)
def _the_environment_is_left_as_it_was():
    """The command line tells the processes that it starts by the environment what the user trusts."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)
