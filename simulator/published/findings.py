"""What is known of the errors of a source, written by people."""

from __future__ import annotations

from typing import Final, cast

from simulator.errors import SpecError
from simulator.spec.yaml_file import data_dir, read_yaml

_FILE: Final = "findings.yaml"


def findings() -> dict[str, str]:
    """Source -> text, from the folder of the published tables.

    Raises:
        SpecError: if the file holds anything else.
    """
    path = data_dir("published") / _FILE
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise SpecError("not a mapping of sources to texts", where=str(path))
    texts = cast("dict[str, object]", content)
    wrong = [name for name, text in texts.items() if not isinstance(text, str)]
    if wrong:
        raise SpecError(f"the finding of '{wrong[0]}' is no text", where=str(path))
    return {name: str(text).strip() for name, text in texts.items()}
