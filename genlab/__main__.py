"""The ``genlab`` command, by that name or as ``python -m genlab``."""

import sys


def run() -> int:
    """The command line of this process; the exit code. Ctrl-C counts from the first import on."""
    try:
        from genlab.cli import main

        return main()
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(run())
