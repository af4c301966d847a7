"""Files of microbenchmarks: CSV, JSON, and what nccl-tests print."""

import json
from pathlib import Path

import pytest

from simulator.calibrate.microbench import GEMM_COLUMNS, read_columns
from simulator.calibrate.nccl import read_collectives
from simulator.errors import SpecError, UnknownNameError

NCCL_TEXT = """# nccl-tests version 2.17.6 nccl-headers=22703 nccl-library=22703
# Collective test starting: all_reduce_perf
# nThread 1 nGpus 2 minBytes 1048576 maxBytes 4194304 step: 2(factor) warmup iters: 1 iters: 20
#
# Using devices
#  Rank  0 Group  0 Pid    100 on     node-1 device  0 [0000:18:00] NVIDIA H100 80GB HBM3
#  Rank  1 Group  0 Pid    100 on     node-1 device  1 [0000:2a:00] NVIDIA H100 80GB HBM3
#
#                                                      out-of-place                in-place
#       size         count      type   redop    root     time   algbw   busbw  #wrong     time
#        (B)    (elements)                               (us)  (GB/s)  (GB/s)             (us)
     1048576        262144     float     sum      -1    25.10   41.78   41.78       0    25.02
     2097152        524288     float     sum      -1    31.55   66.47   66.47     N/A    31.02
# Out of bounds values : 0 OK
# Avg bus bandwidth    : 54.1
"""
NCCL_JSON = {
    "version": 2,
    "args": ["/opt/nccl-tests/build/alltoall_perf", "-g", "4"],
    "config": {
        "nthreads": 1,
        "ngpus": 4,
        "devices": [{"rank": 0, "hostname": "node-1"}],
    },
    "results": [
        {"size": 0, "out_of_place": {"time": 0.0}, "in_place": {"time": 0.0}},
        {"size": 1024, "out_of_place": {"time": 12.5}, "in_place": {"time": 12.0}},
        {"size": 2048, "out_of_place": None, "in_place": {"cpu_time": 13.0}},
    ],
}


def write(tmp_path: Path, name: str, text: str) -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def test_csv_of_one_of_several_devices(tmp_path: Path) -> None:
    text = "accelerator,m,n,k,time_us\na,1,2,3,4\nb,5,6,7,8.5\n"
    found = read_columns(write(tmp_path, "g.csv", text), GEMM_COLUMNS, "b")
    assert found.numbers("m").tolist() == [5.0]
    assert found.seconds().tolist() == [8.5e-6]
    with pytest.raises(SpecError, match="no measurement is of c"):
        read_columns(tmp_path / "g.csv", GEMM_COLUMNS, "c")


def test_json_of_objects(tmp_path: Path) -> None:
    text = json.dumps([{"m": 1, "n": 2, "k": 3, "time_us": 4.5, "precision": None}])
    found = read_columns(write(tmp_path, "g.json", text), GEMM_COLUMNS)
    assert found.seconds().tolist() == pytest.approx([4.5e-6])
    assert found.texts("precision", "bf16") == ["bf16"]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("g.csv", "m,n,time_us\n1,2,3\n", "column 'k' is missing"),
        ("g.csv", "m,n,k,time_us\n", "there is no measurement"),
        ("g.csv", "m,n,k,time_us\n1,2,3\n", "more or fewer cells"),
        ("g.json", "{", "not valid JSON"),
        ("g.json", "{}", "not a list"),
        ("g.json", "[1]", "not an object"),
    ],
)
def test_wrong_files(tmp_path: Path, name: str, text: str, problem: str) -> None:
    with pytest.raises(SpecError, match=problem):
        read_columns(write(tmp_path, name, text), GEMM_COLUMNS)


@pytest.mark.parametrize("cell", ["x", "0", "-1", "nan", "inf", ""])
def test_cells_must_be_positive_numbers(tmp_path: Path, cell: str) -> None:
    path = write(tmp_path, "g.csv", f"m,n,k,time_us\n1,2,3,4\n1,2,3,{cell}\n")
    with pytest.raises(SpecError, match="not a positive number") as error:
        read_columns(path, GEMM_COLUMNS).seconds()
    assert error.value.where == f"{path}, line 3"


def test_a_missing_file() -> None:
    with pytest.raises(SpecError, match="there is no file"):
        read_columns(Path("nowhere.csv"), GEMM_COLUMNS)


def test_thinning_keeps_both_ends(tmp_path: Path) -> None:
    lines = "".join(f"{i},1,1,1\n" for i in range(1, 101))
    found = read_columns(write(tmp_path, "g.csv", "m,n,k,time_us\n" + lines), GEMM_COLUMNS)
    thin = found.thinned(5).numbers("m")
    assert (thin.size, thin[0], thin[-1]) == (5, 1, 100)


def test_text_of_nccl_tests(tmp_path: Path) -> None:
    found = read_collectives(write(tmp_path, "out.txt", NCCL_TEXT))
    assert found.data == {
        "kind": ["all_reduce"] * 2,
        "ranks": ["2", "2"],
        "bytes": ["1048576", "2097152"],
        "time_us": ["25.10", "31.55"],
    }


def test_old_text_takes_its_kind_from_the_file(tmp_path: Path) -> None:
    """Before 2.17 no line named the program, and all-gather had no redop column."""
    text = (
        "#   Rank  0 Pid  7 on node-1 device  0 [0x18] A100\n"
        "#   Rank  1 Pid  8 on node-1 device  1 [0x2a] A100\n"
        "#       size         count      type    time   algbw   busbw  error\n"
        "        1024           256     float   11.20    0.09    0.05  0e+00\n"
    )
    found = read_collectives(write(tmp_path, "all_gather-8.log", text))
    assert (found.data["kind"], found.data["time_us"]) == (["all_gather"], ["11.20"])


def test_json_of_nccl_tests(tmp_path: Path) -> None:
    found = read_collectives(write(tmp_path, "out.json", json.dumps(NCCL_JSON)))
    assert found.data == {
        "kind": ["all_to_all"] * 2,
        "ranks": ["4", "4"],
        "bytes": ["1024.0", "2048.0"],
        "time_us": ["12.5", "13.0"],
    }


def test_our_own_table_of_collectives(tmp_path: Path) -> None:
    path = write(tmp_path, "c.csv", "kind,ranks,bytes,time_us\nall_reduce,8,1024,20\n")
    assert read_collectives(path).numbers("ranks").tolist() == [8.0]


def test_what_is_no_node_is_refused(tmp_path: Path) -> None:
    two = NCCL_TEXT.replace("node-1 device  1", "node-2 device  1")
    with pytest.raises(SpecError, match="spans 2 hosts"):
        read_collectives(write(tmp_path, "out.txt", two))
    other = NCCL_TEXT.replace("all_reduce_perf", "hypercube_perf")
    with pytest.raises(UnknownNameError, match="hypercube"):
        read_collectives(write(tmp_path, "out.txt", other))
    with pytest.raises(SpecError, match="not the JSON of nccl-tests"):
        read_collectives(write(tmp_path, "out.json", '{"results": []}'))


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"args": []}, "index out of range"),
        ({"results": [{"size": 8, "out_of_place": {"time": None}}]}, "'None'"),
        ({"results": [{"size": "big", "out_of_place": {"time": 1.0}}]}, "'big'"),
        ({"results": [[8, 1.0]]}, "list indices"),
    ],
)
def test_wrong_json_of_nccl_tests(tmp_path: Path, change: dict[str, object], problem: str) -> None:
    path = write(tmp_path, "out.json", json.dumps(NCCL_JSON | change))
    with pytest.raises(SpecError, match="not the JSON of nccl-tests") as error:
        read_collectives(path)
    assert problem in error.value.problem


def test_errors_name_the_line_of_the_file(tmp_path: Path) -> None:
    text = "# a comment\n\nm,n,k,time_us,precision\n1,2,3,4,bf16\n\n# more\n1,2,3,4,bf61\n"
    found = read_columns(write(tmp_path, "g.csv", text), GEMM_COLUMNS)
    with pytest.raises(UnknownNameError, match="unknown precision 'bf61'") as error:
        found.words("precision", "bf16", ("bf16", "fp16"))
    assert error.value.where == f"{tmp_path / 'g.csv'}, line 7"
    bad = write(tmp_path, "h.csv", text + "1,2\n")
    with pytest.raises(SpecError, match="more or fewer cells") as error:
        read_columns(bad, GEMM_COLUMNS)
    assert error.value.where == f"{bad}, line 8"


def test_whole_numbers(tmp_path: Path) -> None:
    path = write(tmp_path, "g.csv", "m,n,k,time_us\n64.0,8,1,4\n8,64.5,1,4\n")
    found = read_columns(path, GEMM_COLUMNS)
    assert found.whole("m") == [64, 8]
    with pytest.raises(SpecError, match=r"n '64.5' is not a whole number"):
        found.whole("n")


def test_a_file_that_does_not_name_its_collective(tmp_path: Path) -> None:
    text = NCCL_TEXT.replace("# Collective test starting: all_reduce_perf\n", "")
    with pytest.raises(UnknownNameError, match="unknown collective 'nccl_tests'") as error:
        read_collectives(write(tmp_path, "nccl_tests.txt", text))
    assert "the text does not name its collective" in error.value.hint
    assert "all_reduce_perf.txt" in error.value.hint
    found = read_collectives(write(tmp_path, "all_reduce_perf.txt", text))
    assert set(found.data["kind"]) == {"all_reduce"}


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("31.55", "-31.55", "time '-31.55' is not a positive number"),
        ("31.55", "nan", "time 'nan'"),
        ("31.55", "inf", "time 'inf'"),
        ("31.55", "slow", "time 'slow'"),
        ("     N/A", "      12", "#wrong is '12'"),
    ],
)
def test_wrong_lines_of_nccl_tests(tmp_path: Path, old: str, new: str, problem: str) -> None:
    path = write(tmp_path, "out.txt", NCCL_TEXT.replace(old, new))
    with pytest.raises(SpecError) as error:
        read_collectives(path)
    assert problem in error.value.problem
    assert error.value.where == f"{path}, line 13"
