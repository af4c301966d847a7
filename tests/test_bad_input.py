"""Whatever a user writes: one clear error with place and hint, exit code 2, soon, no traceback."""

import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from simulator.cli import app

GOOD = """\
model: {preset: gpt2}
training: {global_batch_size: 32, micro_batch_size: 1, seq_length: 1024, precision: bf16}
plan: {tp: 2, pp: 2, dp: 4}
cluster: {preset: selene, nodes: 2}
stack: {preset: ideal}
"""

CLUSTER = """\
extends: selene
tiers:
  - {name: leaf, nodes_per_group: 20, oversubscription: 1, hop: "1 us", source: test}
network:
  {source: test, bandwidth_fraction: 0.9, base: 15 us, hop: 30 us, fill_bandwidth: 400 GB/s,
   fill_max: 30 us, ring_hop: 19 us, message: 20 us, two_node_trees: false}
slow_hosts:
  share: {value: 0.01, source: test}
  forward: {value: 1.1, source: test}
"""

# id -> (text replaced in GOOD, by what, words of the error).
CHANGED: dict[str, tuple[str, str, list[str]]] = {
    "unknown top-level key": ("plan:", "plam:", ["unknown key 'plam'", "did you mean 'plan'"]),
    "unknown nested key": ("tp: 2", "tpp: 2", ["unknown key 'tpp'", "plan.tpp", "'tp'"]),
    "missing part": ("model: {preset: gpt2}\n", "", ["'model' is missing", "add the key"]),
    "missing key": ("seq_length: 1024, ", "", ["'seq_length' is missing", "training.seq_length"]),
    "word for a number": ("tp: 2", "tp: two", ["plan.tp", "'two'"]),
    "number in quotes": ("tp: 2", "tp: '2'", ["plan.tp", "'2'"]),
    "fraction for a count": ("tp: 2", "tp: 2.5", ["plan.tp", "2.5"]),
    "truth for a count": ("tp: 2", "tp: true", ["plan.tp", "true"]),
    "nothing for a count": ("tp: 2", "tp: ", ["plan.tp", "null"]),
    "list for a mapping": ("plan: {tp: 2, pp: 2, dp: 4}", "plan: [1]", ["plan", "not a mapping"]),
    "zero degree": ("tp: 2", "tp: 0", ["plan.tp", "greater than or equal to 1"]),
    "negative degree": ("dp: 4", "dp: -4", ["plan.dp", "-4"]),
    "not a number": ("dp: 4", "dp: .nan", ["plan.dp", "nan"]),
    "infinite": ("dp: 4", "dp: .inf", ["plan.dp", "inf"]),
    "a million digits": ("dp: 4", f"dp: {'9' * 100_000}", ["100000 digits"]),
    "zero batch": ("size: 32", "size: 0", ["training.global_batch_size"]),
    "batch not divisible": ("size: 32", "size: 30", ["30", "4 * 1", "multiple of 4"]),
    "layers not divisible": ("pp: 2, dp: 4", "pp: 5, dp: 1", ["num_layers 12", "5 * 1", "1, 2, 3"]),
    "heads not divisible": ("tp: 2, pp: 2, dp: 4", "tp: 8, dp: 2", ["heads 12", "tp = 8", "or 12"]),
    "more tp than heads": ("tp: 2, pp: 2, dp: 4", "tp: 16, dp: 1", ["12", "tp = 16"]),
    "more ranks than devices": ("dp: 4", "dp: 5", ["20 devices", "selene", "= 16"]),
    "a milliard devices": ("nodes: 2", "nodes: 1000000000", ["cluster: nodes", "1000000000"]),
    "more nodes than there are": ("nodes: 2", "nodes: 561", ["561 nodes", "560"]),
    "no nodes": ("nodes: 2", "nodes: 0", ["cluster: nodes"]),
    "a milliard ranks": ("dp: 4", "dp: 1000000000", ["plan.dp", "1000000000"]),
    "endless step": ("size: 32", "size: 800000000", ["forwards and backwards", "4,000,000"]),
    "endless sequence": ("1024", "99999999999", ["training.seq_length"]),
    "sequence beyond the positions": ("1024", "4096", ["4096", "1024", "max_position"]),
    "unknown model": ("gpt2", "gpt22", ["unknown model 'gpt22'", "gpt2"]),
    "unknown cluster": ("selene", "selena", ["unknown cluster 'selena'", "selene"]),
    "unknown stack": ("ideal", "idael", ["unknown stack 'idael'", "ideal"]),
    "unknown precision": ("bf16", "bf8", ["training.precision", "'bf16'"]),
    "precision the device lacks": ("bf16", "fp8", ["fp8", "a100", "it has"]),
    "unknown schedule": ("tp: 2", "schedule: 1b1f", ["unknown schedule '1b1f'", "1f1b"]),
    "schedule without microbatches": (
        "tp: 2, pp: 2, dp: 4",
        "pp: 3, dp: 4, virtual_stages: 2, schedule: interleaved",
        ["8 is not divisible by pp = 3"],
    ),
    "unknown sharding": ("tp: 2", "sharding: zero9", ["unknown sharding 'zero9'", "zero1"]),
    "unknown optimizer": ("bf16", "bf16, optimizer: adan", ["unknown optimizer 'adan'", "adam"]),
    "unknown recompute": ("bf16", "bf16, recompute: some", ["'some'", "selective"]),
    "misspelt recompute": ("bf16", "bf16, recompute: selectve", ["did you mean 'selective'"]),
    "misspelt recompute mode": ("bf16", "bf16, recompute: {mode: ful}", ["did you mean 'full'"]),
    "misspelt recompute key": (
        "bf16",
        "bf16, recompute: {mode: full, num_layer: 1}",
        ["unknown key 'num_layer'", "did you mean 'num_layers'"],
    ),
    "recompute with no layers": ("bf16", "bf16, recompute: {mode: none, num_layers: 1}", ["full"]),
    "experts": ("tp: 2", "ep: 4", ["ep = 4", "no experts"]),
    "bare number for a quantity": ("tp: 2", "bucket_bytes: 25", ["25 has no unit", "80 GB"]),
    "wrong unit": ("tp: 2", "bucket_bytes: 25 GB/s", ["'GB/s'", "unit of bytes"]),
    "negative quantity": ("tp: 2", "bucket_bytes: -1 GB", ["must be positive"]),
    "huge quantity": ("tp: 2", "bucket_bytes: 1e400 GB", ["not finite"]),
    "axis twice": ("tp: 2", "axis_order: [tp, tp, dp, pp]", ["axis_order", "each axis once"]),
    "stages that do not add up": ("tp: 2", "layers_per_stage: [6, 5]", ["[6, 5]", "11", "12"]),
    "negative stage": ("tp: 2", "layers_per_stage: [13, -1]", ["layers_per_stage"]),
    "negative bandwidth scale": ("ideal", "ideal, network_scale: -1", ["network_scale", "-1"]),
    "kernels far too fast": ("ideal", "ideal, gemm_scale: 0.001", ["gemm_scale", "0.1"]),
    "time without a unit": ("ideal", "ideal, batch_overhead: 0.5", ["batch_overhead", "no unit"]),
    "negative time": ("ideal", "ideal, batch_overhead: -1 ms", ["batch_overhead", "negative"]),
    "negative entry": ("ideal", "ideal, list_entry: -7 us", ["list_entry", "negative"]),
    "number for a switch": ("ideal", "ideal, listed_weights: 1", ["listed_weights", "boolean"]),
    "word for a switch": ("ideal", "ideal, gathers_again: often", ["gathers_again", "'often'"]),
    "number for an all-reduce": ("ideal", "ideal, sharded_all_reduce: 2", ["sharded_all_reduce"]),
    "softmax by none": ("ideal", "ideal, softmax_multiple: 0", ["softmax_multiple", "equal to 1"]),
    "softmax by a fraction": ("ideal", "ideal, softmax_multiple: 4.0", ["softmax_multiple", "4.0"]),
    "softmax by too many": ("ideal", f"ideal, softmax_multiple: {10**20}", ["softmax_multiple"]),
    "negative copies": ("ideal", "ideal, gradient_copy_bytes: -1", ["gradient_copy_bytes", "-1"]),
    "typical of no scalar": ("ideal", "ideal, fit: {typical: [x]}", ["fit", "'x' is no scalar"]),
    "fitted and typical": (
        "ideal",
        "ideal, fit: {parameters: [gemm_scale], typical: [gemm_scale]}",
        ["gemm_scale", "both fitted and"],
    ),
    "layers with alternate": (
        "bf16",
        "bf16, recompute: {mode: alternate, num_layers: 1}",
        ["num_layers 1", "'alternate'"],
    ),
    "alternate over tensor ranks": ("bf16", "bf16, recompute: alternate", ["tp 2", "'alternate'"]),
    "window of no tokens": ("gpt2", "gpt2, sliding_window: 0", ["model.sliding_window"]),
    "file that is not there": ("preset: gpt2", "hf_config: none.json", ["none.json", "no file"]),
    "two bases": ("preset: gpt2", "preset: gpt2, hf_config: x.json", ["both preset"]),
    "path out of the catalogue": ("selene", "../clusters/selene", ["cluster"]),
    "same key twice": ("tp: 2", "tp: 2, tp: 4", ["'tp' occurs twice", "line 3"]),
    "anchor": ("tp: 2", "tp: &a 2", ["anchor '&a' is not allowed"]),
    "python object": ("tp: 2", "tp: !!python/object/apply:os.system [ls]", ["not allowed"]),
    "tab": ("plan: {", "plan:\n\ttp: {", ["not valid YAML", "line 4"]),
    "brace left open": ("dp: 4}", "dp: 4", ["not valid YAML", "line"]),
    "second document": ("plan:", "---\nplan:", ["more than one document"]),
    "straggler that is no rank": (
        "stack:",
        "stragglers: [{rank: 16, speed: 0.5}]\nstack:",
        ["rank 16", "0 to 15"],
    ),
    "straggler that stands still": (
        "stack:",
        "stragglers: [{rank: 1, speed: 0}]\nstack:",
        ["stragglers[0].speed"],
    ),
}

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join(['*' + before] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)

# id -> (content of the file, words of the error).
WHOLE: dict[str, tuple[bytes, list[str]]] = {
    "empty file": (b"", ["empty"]),
    "only a comment": (b"# nothing\n", ["empty"]),
    "list at the top": (b"- 1\n- 2\n", ["not a mapping"]),
    "word at the top": (b"hello\n", ["not a mapping"]),
    "binary file": (bytes(range(256)), ["not UTF-8"]),
    "zero bytes": (b"model: \0\n", ["binary"]),
    "alias bomb": (BOMB.encode(), ["anchor", "not allowed"]),
    "deep nesting": (b"[" * 100_000, ["deeper than"]),
    "deep mappings": (b"".join(b" " * i + b"a:\n" for i in range(200)), ["deeper than"]),
    "two megabytes": (b"# " + b"x" * 2_000_000, ["larger than"]),
}


def invoke(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def assert_one_clear_error(result: Result, words: list[str], place: str) -> None:
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("error:") == 1
    assert "Traceback" not in result.stderr
    assert len(result.stderr) < 1000
    assert place in result.stderr
    assert [word for word in words if word not in result.stderr] == []


@pytest.fixture
def job(tmp_path: Path) -> Path:
    return tmp_path / "job.yaml"


def test_the_file_that_is_changed_below_is_right(job: Path) -> None:
    job.write_text(GOOD)
    assert invoke("check", str(job)).exit_code == 0
    assert invoke("run", str(job)).exit_code == 0


@pytest.mark.parametrize("case", CHANGED)
def test_wrong_values(job: Path, case: str) -> None:
    old, new, words = CHANGED[case]
    assert GOOD.count(old) == 1
    job.write_text(GOOD.replace(old, new))
    began = time.perf_counter()
    assert_one_clear_error(invoke("run", str(job)), words, place="job.yaml")
    # Nothing is simulated, so milliseconds are enough; 2 s leaves room for a busy machine.
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize("case", WHOLE)
def test_wrong_files(job: Path, case: str) -> None:
    content, words = WHOLE[case]
    job.write_bytes(content)
    for command in ("run", "memory", "check"):
        began = time.perf_counter()
        result = invoke(command, str(job))
        assert_one_clear_error(result, words if command != "check" else [], place="job.yaml")
        assert time.perf_counter() - began < 2


@pytest.mark.parametrize("case", ["alias bomb", "deep nesting", "two megabytes"])
def test_hostile_files_take_little_memory(job: Path, case: str) -> None:
    job.write_bytes(WHOLE[case][0])
    tracemalloc.start()
    try:
        invoke("run", str(job))
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A file is read up to 1 MB: its bytes and text are 4 MB with room for everything else.
    assert peak_bytes < 16e6


@pytest.mark.parametrize("nodes", ["nodes: 1000000000", "nodes: 561"])
def test_machines_that_are_too_large_are_never_built(job: Path, nodes: str) -> None:
    job.write_text(GOOD.replace("nodes: 2", nodes))
    invoke("run", str(job))
    tracemalloc.start()
    try:
        assert invoke("run", str(job)).exit_code == 2
        _, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak_bytes < 16e6


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("no-such-scenario", ["no file and no shipped scenario"]),
        ("gpt3-175b-a100-46", ["gpt3-175b-a100-64"]),
        ("gpt3", ["did you mean gpt3-175b-a100-64"]),
        ("scenarios/megascale-175b.yaml", ["megascale-175b-12288"]),
        ("", ["directory"]),
        (".", ["directory"]),
        ("x" * 5000, ["no file"]),
    ],
)
def test_scenarios_that_are_not_there(
    name: str, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = invoke("run", name)
    assert result.exit_code == 2
    assert "hint:" in result.stderr
    assert [word for word in words if word not in result.stderr] == []


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("preset: selene", f"preset: {'x' * 5000}.yaml"),
        ("preset: selene", f"preset: {'x' * 5000}"),
        ("preset: ideal", f"preset: {'x' * 5000}.yaml"),
        ("preset: gpt2", f"hf_config: {'x' * 5000}"),
    ],
)
def test_names_no_file_can_have(job: Path, old: str, new: str) -> None:
    job.write_text(GOOD.replace(old, new))
    result = invoke("run", str(job))
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")


def test_a_directory(tmp_path: Path) -> None:
    for command in ("run", "check"):
        assert_one_clear_error(invoke(command, str(tmp_path)), ["is a directory"], str(tmp_path))


@pytest.mark.parametrize(
    ("assignment", "words"),
    [
        ("plan.tp", ["key=value"]),
        ("plan.tpp=2", ["unknown key 'tpp'", "did you mean 'tp'"]),
        ("plam.tp=2", ["unknown key 'plam'", "did you mean 'plan'"]),
        ("plan.tp.x=2", ["leads into 'plan.tp'"]),
        ("plan.tp=[1", ["not valid YAML"]),
        ("plan.tp=5", ["5 * 1 * 4 * 2 = 40", "= 16"]),
        ("cluster.nodes=1e9", ["cluster.nodes"]),
        ("model.preset=gtp2", ["unknown model 'gtp2'", "gpt2"]),
        ("stack.gem_scale=1", ["unknown key 'gem_scale'", "gemm_scale"]),
        ("=", ["key=value"]),
    ],
)
def test_wrong_assignments(job: Path, assignment: str, words: list[str]) -> None:
    job.write_text(GOOD)
    result = invoke("run", str(job), "--set", assignment)
    assert_one_clear_error(result, words, place="--set")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('hop: "1 us"', "hop: 1", ["1 has no unit", "2 us"]),
        ('hop: "1 us"', 'hop: "1 GB"', ["'GB'", "unit of time"]),
        ('hop: "1 us"', 'hop: "-1 us"', ["must not be negative"]),
        ("oversubscription: 1", "oversubscription: 0.5", ["0.5 is below 1"]),
        ("extends: selene", "extends: mine.yaml", ["circle"]),
        ("extends: selene", "extends: selenium", ["unknown cluster 'selenium'", "selene"]),
        ("nodes_per_group: 20", "nodes_per_group: 0", ["nodes_per_group"]),
        ("name: leaf", "nam: leaf", ["unknown key 'nam'"]),
        ("two_node_trees: false", "two_node_trees: 0", ["network.two_node_trees", "boolean"]),
        (
            "two_node_trees: false",
            "two_node_tree: false",
            ["key 'two_node_tree'", "two_node_trees"],
        ),
        (
            "two_node_trees: false",
            "handshake: 20 us",
            ["handshake is given without eager_bandwidth"],
        ),
        ("value: 0.01", "value: 0", ["slow_hosts.share.value", "greater than 0"]),
        ("value: 0.01", "value: 1.01", ["slow_hosts.share.value", "equal to 1"]),
        ("value: 1.1", "value: 0.9", ["0.9 is below 1", "as fast as the others"]),
        ("{value: 1.1, source: test}", "1.1", ["slow_hosts.forward", "not a mapping"]),
        ("  forward:", "  backward:", ["unknown key 'backward'", "forward"]),
    ],
)
def test_wrong_clusters(tmp_path: Path, old: str, new: str, words: list[str]) -> None:
    assert CLUSTER.count(old) == 1
    (tmp_path / "mine.yaml").write_text(CLUSTER.replace(old, new))
    job = tmp_path / "job.yaml"
    job.write_text(GOOD.replace("preset: selene", "preset: mine.yaml"))
    assert_one_clear_error(invoke("run", str(job)), words, place="mine.yaml")
    assert_one_clear_error(invoke("check", str(tmp_path / "mine.yaml")), words, place="mine.yaml")


def test_the_cluster_that_is_changed_above_is_right(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(CLUSTER)
    job = tmp_path / "job.yaml"
    job.write_text(GOOD.replace("preset: selene", "preset: mine.yaml"))
    assert invoke("run", str(job)).exit_code == 0


def test_unknown_kinds_and_files_of_no_kind(job: Path) -> None:
    result = invoke("list", "gpus")
    assert_one_clear_error(result, ["unknown kind 'gpus'", "accelerators"], place="gpus")
    job.write_text("colour: red\n")
    assert_one_clear_error(invoke("check", str(job)), ["no known kind", "hint:"], place="job.yaml")


@pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", bytes(range(256)), b"id,id\n1,2\n"])
def test_wrong_tables(tmp_path: Path, content: bytes) -> None:
    table = tmp_path / "rows.csv"
    table.write_bytes(content)
    assert_one_clear_error(invoke("validate", "--rows", str(table)), [], place="rows.csv")


def test_tables_that_are_not_there(tmp_path: Path) -> None:
    for path in (tmp_path / "none.csv", tmp_path):
        assert_one_clear_error(invoke("validate", "--rows", str(path)), [], place=str(path))


@pytest.mark.parametrize(
    "arguments", [["run"], ["run", "x", "--engine", "fast"], ["fly"], ["run", "x", "--fast"]]
)
def test_wrong_commands(arguments: list[str]) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    "text", [GOOD.replace("tp: 2", "tp: 0"), BOMB, GOOD.replace("nodes: 2", "nodes: 1000000000")]
)
def test_real_processes(job: Path, text: str) -> None:
    job.write_text(text)
    # 1 GB of address space is ten times what an error needs with numpy loaded.
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30)); "
        "from simulator.cli import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "run", str(job)],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
