"""Reads what nccl-tests print, as text or as JSON (``-J FILE``), and our own table.

Source: NVIDIA/nccl-tests, src/util.cu (JSON_FILE_VERSION 2: ``args``, ``config.devices``,
``results[].size`` in bytes, ``results[].out_of_place.time`` in microseconds).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final, cast

from simulator.calibrate.microbench import (
    COLLECTIVE_COLUMNS,
    Columns,
    read_columns,
    read_text,
)
from simulator.errors import SpecError, UnknownNameError

KINDS: Final[Mapping[str, str]] = {
    "all_reduce": "all_reduce",
    "allreduce": "all_reduce",
    "all_gather": "all_gather",
    "allgather": "all_gather",
    "reduce_scatter": "reduce_scatter",
    "reducescatter": "reduce_scatter",
    "all_to_all": "all_to_all",
    "alltoall": "all_to_all",
}
"""Words in the name of a program or a file -> kind of collective."""
_RANK_LINE: Final = re.compile(r"#\s+Rank\s+\d+ .*?\son\s+(\S+)\s+device")


def read_collectives(path: Path, accelerator: str = "") -> Columns:
    """Columns kind, ranks, bytes, time_us of one file of any of the three forms.

    Raises:
        SpecError: if the form is none of them, or the run spans several hosts.
    """
    text = read_text(path)
    if path.suffix == ".json" and text.lstrip().startswith("{"):
        return _json_columns(path, text)
    if re.search(r"^#\s+size\s+count", text, re.MULTILINE):
        return _text_columns(path, text)
    return read_columns(path, COLLECTIVE_COLUMNS, accelerator)


def _text_columns(path: Path, text: str) -> Columns:
    """Out-of-place times, or in-place ones where there are no others."""
    hosts = _RANK_LINE.findall(text)
    _check_hosts(path, set(hosts))
    if not hosts:
        raise SpecError("no line '#  Rank ...' names the devices", where=str(path))
    program = re.search(r"Collective test starting: (\S+)", text)
    kind = _kind(path, program.group(1)) if program else _kind_of_file(path)
    times: list[tuple[str, str]] = []
    place, wrong = 5, len(text)
    for number, line in enumerate(text.splitlines(), 1):
        header = line.lstrip("# ").split()
        if line.startswith("#") and header[:2] == ["size", "count"]:
            times_at = (i for i, word in enumerate(header) if word in {"time", "cputime"})
            place = next(times_at, place)
            wrong = header.index("#wrong") if "#wrong" in header else len(text)
        cells = line.split()
        if len(cells) > 1 and cells[0].isdigit() and cells[1].isdigit():
            where = f"{path}, line {number}"
            times.append((cells[0], _time(cells[place : place + 1], where)))
            _check_wrong(cells[wrong : wrong + 1], where)
    return _columns(path, kind, len(hosts), times)


def _json_columns(path: Path, text: str) -> Columns:
    try:
        data = cast("dict[str, object]", json.loads(text))
        program = str(cast("list[object]", data["args"])[0])
        config = cast("dict[str, object]", data["config"])
        results = cast("list[dict[str, object]]", data["results"])
        devices = cast("list[dict[str, str]]", config["devices"])
        # Without MPI only the first device is listed.
        ranks = max(len(devices), int(str(config["nthreads"])) * int(str(config["ngpus"])))
        _check_hosts(path, {device["hostname"] for device in devices})
        times = [(str(float(str(row["size"]))), _json_time(row)) for row in results]
    except json.JSONDecodeError as error:
        where = f"{path}, line {error.lineno}"
        raise SpecError(f"not valid JSON: {error.msg}", where=where) from None
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise SpecError(
            f"not the JSON of nccl-tests: {error}",
            where=str(path),
            hint="write it with -J FILE, or give a list of objects with the keys "
            f"{', '.join(COLLECTIVE_COLUMNS)}",
        ) from None
    for index, (_, time) in enumerate(times, 1):
        _time([time], f"{path}, result {index}")
    return _columns(path, _kind(path, program), ranks, times)


def _json_time(row: Mapping[str, object]) -> str:
    body = cast("dict[str, object]", row.get("out_of_place") or row["in_place"])
    return str(float(str(body["time"] if "time" in body else body["cpu_time"])))


def _columns(path: Path, kind: str, ranks: int, times: list[tuple[str, str]]) -> Columns:
    # A size of 0 and failed runs have no time.
    kept = [(size, time) for size, time in times if float(size) > 0 and float(time) > 0]
    if not kept:
        raise SpecError("there is no measurement", where=str(path))
    count = len(kept)
    return Columns(
        str(path),
        {
            "kind": [kind] * count,
            "ranks": [str(ranks)] * count,
            "bytes": [size for size, _ in kept],
            "time_us": [time for _, time in kept],
        },
    )


def _kind(path: Path, program: str) -> str:
    name = program.replace("\\", "/").rpartition("/")[2].lower().replace("-", "_")
    for word, kind in KINDS.items():
        if word in name:
            return kind
    raise UnknownNameError.of("collective", name, KINDS, where=str(path))


def _kind_of_file(path: Path) -> str:
    """Before 2.17 only the name of the file can tell."""
    try:
        return _kind(path, path.stem)
    except UnknownNameError as error:
        raise UnknownNameError(
            error.problem,
            where=str(path),
            hint="the text does not name its collective (no line '# Collective test starting:'); "
            f"call the file e.g. all_reduce_perf{path.suffix or '.txt'}, with one of "
            f"{', '.join(dict.fromkeys(KINDS.values()))} in its name",
        ) from None


def _check_hosts(path: Path, hosts: set[str]) -> None:
    if len(hosts) > 1:
        raise SpecError(
            f"the run spans {len(hosts)} hosts, the curve of a node is of one",
            where=str(path),
            hint="run nccl-tests on the devices of one host",
        )


def _time(cells: list[str], where: str) -> str:
    """The cell of a time, which is 0 where nothing was sent."""
    text = cells[0] if cells else ""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value) or value < 0:
        raise SpecError(
            f"time '{text[:40]}' is not a positive number",
            where=where,
            hint="measure again, or remove the line",
        )
    return text


def _check_wrong(cells: list[str], where: str) -> None:
    """A collective that gives wrong results is no measurement."""
    text = cells[0] if cells else "N/A"
    try:
        right = text == "N/A" or float(text) == 0
    except ValueError:
        right = False
    if not right:
        raise SpecError(
            f"#wrong is '{text[:40]}': the collective gave wrong results",
            where=where,
            hint="measure again, or remove the line",
        )
