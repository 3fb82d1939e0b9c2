"""Prometheus' own programs: from the PATH, else from Debian's packages, unpacked into the user's cache.

Nothing is installed and no service is started. Alertmanager alone has to be installed: Debian's looks for templates
below /usr/share. Where a program cannot be had, the tests that need it are skipped.
"""

import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

PACKAGES = {
    "promtool": "prometheus",
    "prometheus": "prometheus",
    "amtool": "prometheus-alertmanager",
    "alertmanager": "prometheus-alertmanager",
}
DEBIAN_NAMES = {"alertmanager": "prometheus-alertmanager"}
INSTALLED = ("alertmanager",)
FETCH_SECONDS = 120


def program(name: str) -> str:
    """The path of promtool, amtool, prometheus or alertmanager; skips the test where there is none."""
    found = shutil.which(name) or shutil.which(DEBIAN_NAMES.get(name, name))
    if found is None and name not in INSTALLED:
        found = _unpacked(PACKAGES[name], name)
    if found is None:
        pytest.skip(f"{name} is not here and cannot be fetched: apt-get install {PACKAGES[name]}")
    return found


def run(name: str, *words: object, seconds: float = 60) -> subprocess.CompletedProcess[str]:
    """Run one of them to its end."""
    return subprocess.run(
        [program(name), *map(str, words)], capture_output=True, text=True, check=False, timeout=seconds
    )


def _unpacked(package: str, name: str) -> str | None:
    folder = _fetch(package)
    file = folder / "usr" / "bin" / name if folder else None
    return str(file) if file and file.is_file() else None


@functools.cache
def _fetch(package: str) -> Path | None:
    """The package's files, fetched once; kept whole or not at all."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mlops-blueprint" / "tools"
    folder = cache / package
    if folder.is_dir():
        return folder
    if not (shutil.which("apt-get") and shutil.which("dpkg")):
        return None
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache) as work:
        try:
            fetched = subprocess.run(
                ["apt-get", "download", "-q", package],
                cwd=work,
                capture_output=True,
                check=False,
                timeout=FETCH_SECONDS,
            )
            files = list(Path(work).glob("*.deb"))
            if fetched.returncode != 0 or not files:
                return None
            unpacked = Path(work) / "files"
            subprocess.run(["dpkg", "-x", str(files[0]), str(unpacked)], check=True, timeout=FETCH_SECONDS)
        except (subprocess.SubprocessError, OSError):
            return None
        try:
            unpacked.rename(folder)
        except OSError:  # another process was first
            if not folder.is_dir():
                raise
    return folder
