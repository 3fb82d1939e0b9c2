"""Environment variables that look like typos, found without importing what declares them."""

import difflib
from collections.abc import Mapping

from pipelines.cli.variable_names import NAMES

PREFIX = "MLOPS_"
CLOSE = 0.75  # of 1, the same word


def likely_typos(environ: Mapping[str, str]) -> list[str]:
    """One sentence for each MLOPS_ variable that nothing reads and whose name is close to one that is read."""
    strangers = sorted(name for name in environ if name.startswith(PREFIX) and name not in NAMES)
    # Compared without the common beginning, which makes all of them look alike.
    words = sorted(name.removeprefix(PREFIX) for name in NAMES if name.startswith(PREFIX))
    close = ((name, difflib.get_close_matches(name.removeprefix(PREFIX), words, 1, CLOSE)) for name in strangers)
    return [f"nothing reads {name}; did you mean {PREFIX}{found[0]}?" for name, found in close if found]
