"""Measures one GPU, or the collectives of one node, and writes what ``trainsim calibrate`` reads.

    python measure_torch.py gpu --out measured
    torchrun --nproc_per_node=8 measure_torch.py node --out measured   (again with 2 and 4)

    trainsim calibrate accelerator BASE --gemm measured/gemm.csv \\
        --attention measured/attention.csv --memory measured/memory.csv --out mine.yaml
    trainsim calibrate node BASE measured/collectives-*.csv --out my-node.yaml

Needs PyTorch 2.3 or later with CUDA (or ROCm); the simulator never imports it, nor does it import
the simulator, so that this one file can be copied to a machine. It takes about five minutes.

NOT RUN ON A GPU by this project: what is pure (shapes, statistics, files) is tested, the kernels
are not. Inputs are random, since zeros draw less power and run 4-19 % faster; weights change
between repetitions, so that they come from DRAM and not from L2.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

WARM_UP = 3
REPEATS = 20
MAX_BYTES = 8e9
"""Largest working set of one measurement, which 16 GB devices hold."""
GEMM_HEADER = ("m", "n", "k", "precision", "time_us")
ATTENTION_HEADER = (
    "kernel", "head_dim", "batch", "heads", "tokens", "causal", "direction", "time_us",
)  # fmt: skip
MEMORY_HEADER = ("kernel", "bytes", "time_us")
COLLECTIVE_HEADER = ("kind", "ranks", "bytes", "time_us")


@dataclass(frozen=True)
class GemmShape:
    m: int
    n: int
    k: int

    @property
    def num_bytes(self) -> float:
        """bf16 operands and result, with the three weights that take turns."""
        return 2.0 * (self.m * self.k + 3 * self.k * self.n + self.m * self.n)


@dataclass(frozen=True)
class AttentionCase:
    batch: int
    heads: int
    tokens: int
    head_dim: int
    causal: bool


def gemm_shapes() -> list[GemmShape]:
    """Training shapes: a grid, odd sizes that leave part of a wave, and long kernels that droop."""
    grid = [
        GemmShape(m, n, k)
        for m in (512, 2048, 4096, 8192, 16384)
        for n in (1024, 4096, 6144, 12288, 28672)
        for k in (1024, 4096, 12288)
    ]
    odd = [(4097, 4096, 4096), (4352, 5120, 5120), (3328, 6144, 2048), (768, 3072, 12288)]
    long = [(8192, 8192, 28672), (16384, 16384, 16384), (4096, 50304, 4096)]
    shapes = [*grid, *(GemmShape(*one) for one in (*odd, *long))]
    return [shape for shape in dict.fromkeys(shapes) if shape.num_bytes <= MAX_BYTES]


def attention_cases() -> list[AttentionCase]:
    """16k tokens in all, hidden size 2048 as in the figures of FlashAttention, and fewer heads."""
    return [
        AttentionCase(max(1, 16384 // tokens), heads, tokens, head_dim, causal)
        for head_dim in (64, 128)
        for tokens in (512, 1024, 2048, 4096, 8192, 16384)
        for heads in (2048 // head_dim, 4)
        for causal in (True, False)
    ]


def element_counts() -> list[int]:
    """Elements of memory-bound kernels: 1 M to 512 M, where launches and DRAM show."""
    return [2**power for power in range(20, 30)]


def payloads(ranks: int) -> list[int]:
    """Bytes of collectives, 1 KiB to 1 GiB, divisible by the ranks in 16-bit elements."""
    step = 2 * ranks
    return [max(step, 2**power // step * step) for power in range(10, 31)]


def median_s(times_s: Sequence[float]) -> float:
    """The median, which a few disturbed repetitions do not move."""
    if not times_s:
        raise ValueError("nothing was measured")
    return statistics.median(times_s)


def write_rows(path: Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A CSV file, complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".part")
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
    temporary.replace(path)
    print(f"wrote {len(rows)} measurements to {path}", file=sys.stderr)


def microseconds(seconds: float) -> str:
    """As it stands in a file."""
    return f"{seconds * 1e6:.4g}"


def torch_or_exit() -> Any:
    """PyTorch with a device."""
    try:
        import torch
    except ImportError:
        sys.exit("error: PyTorch is not installed\n\nhint: pip install torch, on the GPU machine")
    if not torch.cuda.is_available():
        sys.exit("error: PyTorch finds no GPU\n\nhint: run this on the machine to be measured")
    return torch


def timed_s(torch: Any, run: Callable[[], object], repeats: int = REPEATS) -> float:
    """Median time of a call on the device, by CUDA events around each repetition."""
    for _ in range(WARM_UP):
        run()
    torch.cuda.synchronize()
    times: list[float] = []
    for _ in range(repeats):
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        begin.record()
        run()
        end.record()
        end.synchronize()
        times.append(begin.elapsed_time(end) * 1e-3)
    return median_s(times)


def measure_gemm(torch: Any) -> Iterator[tuple[object, ...]]:
    for shape in gemm_shapes():
        x = torch.randn(shape.m, shape.k, device="cuda", dtype=torch.bfloat16)
        weights = [
            torch.randn(shape.n, shape.k, device="cuda", dtype=torch.bfloat16) for _ in range(3)
        ]
        turn = 0

        def run(x: Any = x, weights: Any = weights) -> object:
            nonlocal turn
            turn += 1
            return torch.nn.functional.linear(x, weights[turn % 3])

        yield shape.m, shape.n, shape.k, "bf16", microseconds(timed_s(torch, run))


def measure_attention(torch: Any, kernel: str) -> Iterator[tuple[object, ...]]:
    """PyTorch's fused attention, held to its flash backend; ``kernel`` says which one that is."""
    from torch.nn.attention import SDPBackend, sdpa_kernel

    for case in attention_cases():
        size = (case.batch, case.heads, case.tokens, case.head_dim)
        q, k, v, gradient = (
            torch.randn(size, device="cuda", dtype=torch.bfloat16) for _ in range(4)
        )
        for one in (q, k, v):
            one.requires_grad_()

        def forward(q: Any = q, k: Any = k, v: Any = v, causal: bool = case.causal) -> Any:
            return torch.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)

        key = (kernel, case.head_dim, case.batch, case.heads, case.tokens, int(case.causal))
        with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
            with torch.no_grad():
                yield *key, "forward", microseconds(timed_s(torch, forward))
            out = forward()

            def backward(out: Any = out, inputs: Any = (q, k, v), gradient: Any = gradient) -> Any:
                return torch.autograd.grad(out, inputs, gradient, retain_graph=True)

            yield *key, "backward", microseconds(timed_s(torch, backward))


def measure_memory(torch: Any) -> Iterator[tuple[object, ...]]:
    """bf16 kernels; bytes are one read per input and one write."""
    functional = torch.nn.functional
    width = 4096
    for count in element_counts():
        x = torch.randn(count // width, width, device="cuda", dtype=torch.bfloat16)
        y = torch.randn_like(x)
        out = torch.empty_like(x)
        kernels: dict[str, tuple[int, Callable[[], object]]] = {
            "copy": (2, lambda out=out, x=x: out.copy_(x)),
            "add": (3, lambda x=x, y=y, out=out: torch.add(x, y, out=out)),
            "gelu": (2, lambda x=x: functional.gelu(x)),
            "layernorm": (2, lambda x=x: functional.layer_norm(x, (width,))),
            "softmax": (2, lambda x=x: torch.softmax(x, -1)),
            "dropout": (2, lambda x=x: functional.dropout(x, 0.1)),
        }
        for name, (passes, run) in kernels.items():
            num_bytes = passes * 2 * count + (count if name == "dropout" else 0)
            yield name, num_bytes, microseconds(timed_s(torch, run))


def measure_collectives(torch: Any, ranks: int) -> Iterator[tuple[object, ...]]:
    """Sizes in the convention of nccl-tests: of the whole buffer, all ranks together."""
    dist = torch.distributed
    for num_bytes in payloads(ranks):
        whole = torch.randn(num_bytes // 2, device="cuda").to(torch.bfloat16)
        part = torch.empty(num_bytes // 2 // ranks, device="cuda", dtype=torch.bfloat16)
        other = torch.empty_like(whole)
        kinds: dict[str, Callable[[], object]] = {
            "all_reduce": lambda whole=whole: dist.all_reduce(whole),
            "all_gather": lambda whole=whole, part=part: dist.all_gather_into_tensor(whole, part),
            "reduce_scatter": lambda whole=whole, part=part: dist.reduce_scatter_tensor(
                part, whole
            ),
            "all_to_all": lambda whole=whole, other=other: dist.all_to_all_single(other, whole),
        }
        for kind, run in kinds.items():
            dist.barrier()
            yield kind, ranks, num_bytes, microseconds(timed_s(torch, run))


def measure_gpu(out: Path, kernel: str) -> None:
    torch = torch_or_exit()
    write_rows(out / "gemm.csv", GEMM_HEADER, list(measure_gemm(torch)))
    write_rows(out / "attention.csv", ATTENTION_HEADER, list(measure_attention(torch, kernel)))
    write_rows(out / "memory.csv", MEMORY_HEADER, list(measure_memory(torch)))


def measure_node(out: Path) -> None:
    torch = torch_or_exit()
    if "LOCAL_RANK" not in os.environ:
        sys.exit("error: no process group\n\nhint: start with torchrun --nproc_per_node=8")
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    torch.distributed.init_process_group("nccl")
    ranks = torch.distributed.get_world_size()
    rows = list(measure_collectives(torch, ranks))
    if torch.distributed.get_rank() == 0:
        write_rows(out / f"collectives-{ranks}.csv", COLLECTIVE_HEADER, rows)
    torch.distributed.destroy_process_group()


def parser() -> argparse.ArgumentParser:
    chosen = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    chosen.add_argument("what", choices=["gpu", "node"], help="one GPU, or one node by torchrun")
    chosen.add_argument("--out", type=Path, default=Path("measured"), help="folder for the files")
    chosen.add_argument(
        "--kernel", default="flash2", choices=["flash1", "flash2", "flash3"],
        help="which FlashAttention this PyTorch has (2 since PyTorch 2.2)",
    )  # fmt: skip
    return chosen


def main(arguments: Sequence[str] | None = None) -> None:
    chosen = parser().parse_args(arguments)
    if chosen.what == "gpu":
        measure_gpu(chosen.out, chosen.kernel)
    else:
        measure_node(chosen.out)


if __name__ == "__main__":
    main()
