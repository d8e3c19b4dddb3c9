"""Every attack of this folder, as a script: it prints its figure and exits 0 when it holds."""

import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parent
HELPERS = ("compromised_decoder.py", "jobs_under_attack.py")
SCRIPTS = sorted(
    path.name for path in FOLDER.glob("*.py") if not path.name.startswith("test_") and path.name not in HELPERS
)


@pytest.mark.attack
@pytest.mark.timeout(0)  # the scripts have deadlines of their own
@pytest.mark.parametrize("name", SCRIPTS)
def test_the_attack_fails(name):
    done = subprocess.run([sys.executable, FOLDER / name], check=False)  # with -s its figures are seen as they come
    assert done.returncode == 0
