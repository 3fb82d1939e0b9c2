"""Kept for workflows of forks that run `python -m pipelines.release.staged`; it is now `promotion_check`."""

import sys

from pipelines.release.promotion_check import main

if __name__ == "__main__":
    sys.exit(main())
