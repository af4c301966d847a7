"""The wheel holds the data and works away from the checkout."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DATA = {"hardware": "hardware", "scenarios": "scenarios", "published": "benchmarks/published"}
"""Folder in the wheel's ``simulator/_data`` -> folder of the checkout."""
SCENARIO = "megatron-175b-12288"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Built once, with what is installed here, so that no package index is needed."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT))
    (built,) = folder.glob("*.whl")
    return built


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "-q", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr


def test_the_wheel_holds_all_data(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for inside, folder in DATA.items():
        shipped = [p.relative_to(ROOT / folder) for p in (ROOT / folder).rglob("*") if p.is_file()]
        wanted = {f"simulator/_data/{inside}/{path.as_posix()}" for path in shipped}
        assert len(wanted) > 10
        assert wanted - names == set()
    modules = (p for p in (ROOT / "simulator").rglob("*") if p.suffix in {".py", ".css"})
    assert {p.relative_to(ROOT).as_posix() for p in modules} - names == set()
    assert "simulator/report/page.css" in names
    assert not any(name.startswith(("tests/", "docs/")) for name in names)


def test_the_wheel_runs_from_elsewhere(wheel: Path, tmp_path: Path) -> None:
    """Dependencies are those of this environment; the package itself is the wheel's."""
    site = tmp_path / "site"
    pip("install", "--no-index", "--no-deps", "--target", str(site), str(wheel))
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    report = json.loads(run(site, elsewhere, "-m", "simulator", "run", SCENARIO, "--json"))
    assert report["devices"] == 12288
    assert report["step_time_s"] > 0
    script = str(site / "bin" / "trainsim")
    assert "megatron-175b-12288" in run(site, elsewhere, script, "list", "scenarios")
    where = run(site, elsewhere, "-c", "import simulator; print(simulator.__file__)")
    assert Path(where.strip()).is_relative_to(site)
    page = tmp_path / "page.html"
    run(site, elsewhere, script, "run", "gpt2-xl-one-gpu", "--html", str(page))
    assert "</html>" in page.read_text(encoding="utf-8")


def run(site: Path, folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(site)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
