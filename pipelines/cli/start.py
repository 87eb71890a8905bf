"""Where the program `fdvs` begins: signals end it well before the other modules are loaded."""

from __future__ import annotations

import sys

from fdvs.pipelines.cli import signals


def main() -> None:
    """Run the command line and exit the process."""
    signals.end_at_once()
    from fdvs.pipelines.cli.main import EXIT_INTERRUPTED, run

    try:
        signals.interrupt_main()
        code = run(sys.argv[1:])
    except KeyboardInterrupt:  # while the outcome was printed
        code = EXIT_INTERRUPTED
    signals.leave(signals.exit_code(code))
