"""``python -m simulator`` is ``trainsim``."""

from __future__ import annotations

import os
import sys

INTERRUPTED = 130
"""128 + SIGINT, as shells count."""


def main() -> None:
    """Entry point of the ``trainsim`` script; Ctrl-C also ends it while modules are imported."""
    try:
        from simulator.cli import main as run_command

        run_command()
    except KeyboardInterrupt:
        sys.stdout.flush()
        # Modules that are half imported fail again in what would run at the end.
        os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
