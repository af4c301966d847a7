"""States of low-rank optimizers and adapters, by hand for LLaMA-7B."""

from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.cost.low_rank import (
    adapter_parameters,
    matrix_state_elements,
    optimizer_state_bytes,
    svd_s,
)
from simulator.fine_tuning import FineTuning
from simulator.model import TransformerConfig, num_parameters
from simulator.plan import OptimizerConfig, StateForm
from simulator.spec.models import ModelInput, load_model
from simulator.spec.optimizers import OPTIMIZERS


def llama_7b() -> TransformerConfig:
    return load_model(ModelInput(preset="llama-7b"), "test", Path())[0]


def optimizer(name: str) -> OptimizerConfig:
    row = OPTIMIZERS[name]
    return OptimizerConfig(
        name,
        row.state_bytes,
        row.master_bytes,
        2.0,
        2.0,
        form=row.form,
        rank=row.rank,
        svd_every=row.svd_every,
        weight_bytes=row.weight_bytes,
    )


ADAMW_BF16 = OptimizerConfig("adamw", 4.0, 0.0, 2.0, 2.0)


def state_bytes(config: OptimizerConfig) -> float:
    model = llama_7b()
    return float(
        optimizer_state_bytes(model, config, parameters=num_parameters(model), num_layers=32, tp=1)
    )


@pytest.mark.parametrize(
    ("form", "rank", "elements"),
    [
        ("full", 0, 2 * 4 * 10),
        ("galore", 3, 4 * 3 + 2 * 10 * 3),
        ("galore", 100, 4 * 4 + 2 * 10 * 4),  # no more than the shorter side
        ("apollo", 3, 2 * 10 * 3 + 2),
        ("apollo", 1, 2 * 10 + 2),  # APOLLO-Mini
        ("factored", 0, 4 + 10),
    ],
)
def test_elements_of_a_4_by_10_matrix(form: StateForm, rank: int, elements: int) -> None:
    config = replace(ADAMW_BF16, form=form, rank=rank)
    assert matrix_state_elements(4, 10, config) == elements


@pytest.mark.parametrize(
    ("config", "gigabytes"),
    [
        # 6.738e9 parameters * 2 moments * 2 bytes
        (ADAMW_BF16, 26.95),
        # 32 * (4 * (4096 * 1024 + 2 * 4096 * 1024) + 3 * (4096 * 1024 + 2 * 11008 * 1024)) * 2 B
        # = 8.35 GB, and 262.4e6 parameters outside the matrices * 4 B = 1.05 GB
        (optimizer("galore"), 9.40),
        # 32 * (4 * 2 * 4096 + 3 * 2 * 11008) * 256 * 2 B = 1.62 GB, and 1.05 GB
        (optimizer("apollo"), 2.67),
        # 32 * (8 * 4096 + 6 * 11008) * 2 B = 6 MB, and 1.05 GB
        (optimizer("apollo-mini"), 1.06),
    ],
)
def test_moments_of_llama_7b(config: OptimizerConfig, gigabytes: float) -> None:
    """The figures of APOLLO (arXiv 2412.05270), to the digits that are printed here."""
    assert state_bytes(config) / 1e9 == pytest.approx(gigabytes, abs=0.006)


def test_adafactor_keeps_rows_and_columns() -> None:
    """32 * (4 * 8192 + 3 * 15104) + 2 * (32000 + 4096) + 65 norms of 4,096, in fp32: 11.5 MB."""
    numbers = 32 * (4 * 8192 + 3 * 15104) + 2 * (32000 + 4096) + 65 * 4096
    assert state_bytes(optimizer("adafactor")) == pytest.approx(4 * numbers, rel=1e-9)


def test_projections_of_llama_7b_take_12_minutes() -> None:
    """32 * (4 * 4096^3 + 3 * 4096^2 * 11008) = 2.65e13, at 70 s per 2.47e12: 752 s in 200 steps."""
    per_step = 32 * float(svd_s(llama_7b(), optimizer("galore"), 1))
    assert per_step * 200 == pytest.approx(752, rel=0.01)
    assert svd_s(llama_7b(), optimizer("apollo"), 1) == 0


def test_adapters_of_queries_and_values() -> None:
    """LLaMA-7B, rank 8 on two 4096 x 4096 matrices: 8 * 8192 * 2 = 131,072 a layer."""
    tuned = FineTuning(8, ("query", "value"))
    assert adapter_parameters(llama_7b(), tuned, 1) == 131_072
    # Over 2 ranks A [4096, 8] is on both, and B [8, 4096] is cut.
    assert adapter_parameters(llama_7b(), tuned, 2) == 2 * 8 * (4096 + 2048)


def test_adapters_of_a_row_parallel_matrix_are_cut_by_inputs() -> None:
    tuned = FineTuning(4, ("down",))
    assert adapter_parameters(llama_7b(), tuned, 4) == 4 * (11008 / 4 + 4096)


@given(st.integers(1, 4096), st.integers(1, 4096), st.sampled_from(["galore", "apollo"]))
def test_more_rank_more_state(one: int, other: int, name: str) -> None:
    low, high = sorted((one, other))
    config = optimizer(name)
    assert state_bytes(replace(config, rank=low)) <= state_bytes(replace(config, rank=high))
