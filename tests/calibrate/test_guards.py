"""What a calibration does not write."""

from pathlib import Path

import pytest

from simulator.calibrate.guards import refuse_installed
from simulator.errors import SpecError


def test_installed_files_are_not_changed() -> None:
    place = "/v/lib/python3.12/site-packages/simulator/_data/hardware/stacks/internevo.yaml"
    with pytest.raises(SpecError, match="installed copy") as error:
        refuse_installed([Path("mine.yaml"), Path(place)])
    assert "editable" in error.value.hint
    assert "--out" in error.value.hint
    refuse_installed([Path("mine.yaml")])
