"""`python -m pipelines.monitor`: the monitor as a process, for whoever supervises one. `mlops monitor` is the same."""

import argparse
import sys

from pipelines.console import fail
from pipelines.errors import MlopsError
from pipelines.monitor.options import Options
from pipelines.monitor.serve import HOST, PORT, serve
from pipelines.settings import Settings


def main() -> int:
    """Serve until SIGTERM or SIGINT; gives the exit status."""
    parser = argparse.ArgumentParser(prog="python -m pipelines.monitor")
    parser.add_argument("--host", default=HOST)
    parser.add_argument("--port", type=int, default=PORT)
    parser.add_argument("--fd", type=int, help="a socket that listens already")
    options = parser.parse_args()
    try:
        serve(Settings.load(), Options.load(), options.host, options.port, options.fd)
    except MlopsError as error:
        fail(error)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
