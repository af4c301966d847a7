"""``trainsim collective`` end to end."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from simulator.cli import app

POD = ("--cluster", "dgx-h100-superpod")


def run(*arguments: str):
    return CliRunner().invoke(app, ["collective", *arguments])


def test_a_sweep_of_sizes() -> None:
    shown = run("all-reduce", *POD, "--bytes", "1KiB:1GiB:x1024")
    assert shown.exit_code == 0
    lines = [line.split() for line in shown.output.splitlines()[3:]]
    assert [line[2:4] for line in lines] == [["1", "KiB"], ["1", "MiB"], ["1", "GiB"]]


def test_json_is_in_si_units() -> None:
    shown = run("allgather", *POD, "--ranks", "8,64", "--stride", "8", "--json")
    data = json.loads(shown.output)
    assert (data["kind"], data["stride"], len(data["runs"])) == ("all_gather", 8, 2)
    first = data["runs"][0]
    assert first["payload_bytes"] == 2**30  # of a scan over ranks
    assert first["algorithm_bytes_per_s"] == pytest.approx(2**30 / first["time_s"])
    assert first["times_s"][first["algorithm"]] == first["time_s"]


def test_compare_marks_what_the_library_takes() -> None:
    shown = run("all_reduce", *POD, "--ranks", "1024", "--bytes", "1GiB", "--compare")
    header, line = shown.output.splitlines()[2:4]
    assert header.split()[3:] == ["ring", "tree", "hierarchical", "halving_doubling", "collnet"]
    assert line.count("*") == 1


def test_a_torus_lists_what_differs() -> None:
    """There a ring is the rings along all axes: one column, marked where a library takes rings."""
    pod = ("--cluster", "tpu-v4-pod", "--ranks", "64", "--bytes", "1MiB")
    header, line = run("all_reduce", *pod, "--compare").output.splitlines()[2:4]
    assert header.split()[3:] == ["torus", "bucket"]
    assert line.split()[6] == "*"  # behind 64, 16, 1 MiB and the time of the torus
    for algorithm in ((), ("--algorithm", "ring"), ("--algorithm", "torus")):
        assert run("all_reduce", *pod, *algorithm).output.splitlines()[3].split()[10] == "torus"
    assert run("broadcast", *pod).output.splitlines()[3].split()[10] == "ring"


def test_switches_that_do_not_add_have_no_collnet() -> None:
    tcp = ("--cluster", "v100-4-pcie-tcp-cluster", "--ranks", "64", "--bytes", "1GiB")
    assert "collnet" not in run("all_reduce", *tcp, "--compare").output
    refused = run("all_reduce", *tcp, "--algorithm", "ring,collnet")
    assert refused.exit_code == 2
    assert "'collnet' adds inside the switches" in refused.stderr
    assert "at --algorithm" in refused.stderr


def test_files(tmp_path: Path) -> None:
    page, rows = tmp_path / "x.html", tmp_path / "x.csv"
    scan = (*POD, "--ranks", "8:512:x8")
    assert run("all_reduce", *scan, "--html", str(page), "--table", str(rows)).exit_code == 0
    assert "<svg" in page.read_text()
    header, *lines = rows.read_text().splitlines()
    assert len(lines) == 3
    assert {"time_s", "bus_bytes_per_s", "times_s_ring"} <= set(header.split(","))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("all_reduse", *POD), "did you mean all_reduce"),
        (("all_reduce", "--cluster", "dgx-h100-superpot"), "dgx-h100-superpod"),
        (("all_reduce", *POD, "--ranks", "0"), "at --ranks"),
        (("all_reduce", *POD, "--ranks", "1000000"), "nodes asked of cluster"),
        (("all_reduce", *POD, "--bytes", "ten"), "at --bytes"),
        (("all_reduce", *POD, "--ranks", "1"), "two ranks or more"),
        (("all_reduce", *POD, "--compare", "--algorithm", "ring"), "leave one of both out"),
        (("all_reduce", *POD, "--bytes", "1GiB:1KiB:x2"), "no range of sizes"),
        (("all_reduce", *POD, "--bytes", "1KiB:1GiB:x1"), "no range of sizes"),
        (("all_reduce", *POD, "--algorithm", "rings"), "did you mean ring"),
        (("all_reduce", *POD, "--algorithm", "tree"), "does not run all_reduce"),
        (("all_reduce", *POD, "--ranks", "2:901:+1", "--bytes", "1B:2B:x2"), "more than 1000"),
    ],
)
def test_wrong_input(arguments: tuple[str, ...], words: str) -> None:
    refused = run(*arguments)
    assert refused.exit_code == 2
    assert words in refused.output


def test_links_between_sites_bound_what_crosses_them(tmp_path: Path) -> None:
    """Two sites of 2 nodes over 1 Gb/s: each byte goes around all ranks but one, and back."""
    path = tmp_path / "sites.yaml"
    path.write_text(
        "extends: dgx-h100-superpod\n"
        "num_nodes: {value: 4, source: test}\n"
        "fabric:\n"
        "  kind: wan\n"
        "  nodes_per_site: {value: 2, source: test}\n"
        "  bandwidth: {value: 1 Gbps, source: test}\n"
        "  latency: {value: 30 ms, source: test}\n"
    )
    arguments = ("all_reduce", "--cluster", str(path), "--ranks", "32", "--bytes", "1GiB")
    shown = run(*arguments)
    assert "links between sites" in shown.stdout
    assert not shown.stderr
    (found,) = json.loads(run(*arguments, "--json").stdout)["runs"]
    # A tree crosses twice on the way up and twice on the way down; 0.92 of a link is used.
    expected_s = 2 * 31 / 32 * 2**30 / (125e6 * 0.92) + 4 * 30e-3
    assert found["time_s"] == pytest.approx(expected_s, rel=1e-3)
