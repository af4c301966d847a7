"""Memory and time of partial training: laws, and figures by hand."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.errors import PlanError, SpecError
from simulator.model import layer_matrix_parameters, num_parameters
from simulator.report.report import RankMemory, Report
from simulator.simulate import memory_of, simulate
from simulator.spec.load import ScenarioSource, load_scenario, parse_scenario
from simulator.spec.overrides import parse_override
from simulator.trained import gathered_weight_bytes

BASE: dict[str, object] = {
    "model": "llama-7b",
    "training": {
        "global_batch_size": 8,
        "micro_batch_size": 1,
        "seq_length": 256,
        "precision": "bf16",
        "optimizer": "adamw",
    },
    "plan": {"dp": 8},
    "cluster": {"preset": "dgx-a100-cluster", "nodes": 1},
    "stack": "pytorch-fsdp-2024",
}
LORA = "training.fine_tuning={rank: 16, targets: all}"


def report(*overrides: str) -> Report:
    source = ScenarioSource(BASE).having(*(parse_override(text) for text in overrides))
    return simulate(source.scenario(), levers=False)


def terms(*overrides: str) -> dict[str, float]:
    return dict(rank(*overrides).terms)


def rank(*overrides: str) -> RankMemory:
    source = ScenarioSource(BASE).having(*(parse_override(text) for text in overrides))
    return memory_of(source.scenario()).rank_classes[0]


def test_adapters_have_states_and_frozen_weights_have_none() -> None:
    """32 layers * 16 * (4 * 8192 + 3 * 15104) = 39,976,960 trained: 4 B gradients, 8 + 4 B states.

    The stack keeps gradients in fp32.
    """
    trained = 32 * 16 * (4 * 8192 + 3 * 15104)
    found = terms(LORA)
    assert found["gradients"] == 4 * trained
    assert found["optimizer"] == 8 * trained
    assert found["master_weights"] == 4 * trained
    assert found["weights"] == pytest.approx(terms()["weights"] + 2 * trained, rel=1e-12)


def test_nf4_weights() -> None:
    """The layers' 6.476e9 weights take 0.516 bytes instead of 2."""
    saved = terms(LORA)["weights"] - terms(LORA, "training.fine_tuning.base=nf4")["weights"]
    in_layers = 32 * (4 * 4096**2 + 3 * 4096 * 11008)
    assert saved == pytest.approx(in_layers * (2 - 0.516), rel=1e-9)


def test_gradients_freed_layer_by_layer() -> None:
    """One layer's, 202,383,360 of them, two where their reduction runs beside the next backward."""
    layer = 4 * 4096**2 + 3 * 4096 * 11008 + 2 * 4096
    one = terms("training.gradient_release=layerwise", "plan.overlap.dp=false")
    assert one["gradients"] == 4 * layer
    two = terms("training.gradient_release=layerwise", "plan.overlap.dp=true")
    assert two["gradients"] == 8 * layer


@pytest.mark.parametrize("overlap", ["true", "false"])
def test_updates_layer_by_layer_take_as_long_and_no_more_compute(overlap: str) -> None:
    """The same optimizer time. Reductions hide behind updates, too, or start once a layer."""
    plain = report(f"plan.overlap.dp={overlap}")
    freed = report(f"plan.overlap.dp={overlap}", "training.gradient_release=layerwise")
    assert freed.time["optimizer"] == pytest.approx(plain.time["optimizer"], rel=1e-9)
    assert freed.time["compute"] == pytest.approx(plain.time["compute"], rel=1e-9)
    assert freed.step_time_s <= 1.05 * plain.step_time_s  # latencies of 32 collectives
    assert freed.step_time_s >= freed.time["compute"] + freed.time["optimizer"]


def test_adapters_alone_are_reduced() -> None:
    """What 40 million gradients take instead of 6.7 billion."""
    plain, tuned = report("plan.overlap.dp=false"), report("plan.overlap.dp=false", LORA)
    assert tuned.time["dp_comm"] < plain.time["dp_comm"] / 50
    assert tuned.step_time_s < plain.step_time_s


def test_sampled_activations_take_less() -> None:
    assert terms("training.activation_keep_ratio=0.3")["activations"] < terms()["activations"]


def test_galore_stalls_for_its_projections() -> None:
    """752 s in 200 steps, 3.76 s a step; the rest is the projection back, and more moments."""
    galore, apollo = report("training.optimizer=galore"), report("training.optimizer=apollo")
    stall_s = galore.time["optimizer"] - apollo.time["optimizer"]
    assert 3.76 < stall_s < 3.76 * 1.05


@settings(deadline=None, max_examples=20)
@given(
    rank_=st.sampled_from([1, 8, 64, 256]),
    targets=st.sampled_from(["attention", "mlp", "all", "[query, value]"]),
    base=st.sampled_from(["training", "int8", "nf4"]),
    sharding=st.sampled_from(["ddp", "zero1", "zero2", "zero3"]),
    recompute=st.sampled_from(["none", "full"]),
)
def test_adapters_never_need_more_memory_than_training_everything(
    rank_: int, targets: str, base: str, sharding: str, recompute: str
) -> None:
    plan = (f"plan.sharding={sharding}", f"training.recompute={recompute}")
    tuned = f"training.fine_tuning={{rank: {rank_}, targets: {targets}, base: {base}}}"
    more = f"training.fine_tuning={{rank: {2 * rank_}, targets: {targets}, base: {base}}}"
    assert rank(*plan, tuned).peak_bytes < rank(*plan).peak_bytes
    assert rank(*plan, tuned).peak_bytes <= rank(*plan, more).peak_bytes


@pytest.mark.parametrize(
    ("overrides", "problem"),
    [
        (["training.gradient_release=layerwise", "training.global_batch_size=16"], "accumulated"),
        (["training.gradient_release=layerwise", "plan.sharding=zero2"], "plan.sharding ddp"),
        ([LORA, "training.optimizer=apollo"], "on adapters is not modelled"),
        ([LORA, "plan.schedule=zb-h1"], "splits the backward"),
        (["training.optimizer={name: adamw, rank: 8}"], "has no rank"),
        (["training.optimizer={name: apollo-mini, rank: 8}"], "is apollo of rank 1"),
        (["training.optimizer={name: apollo, svd_every: 8}"], "decomposes nothing"),
        (["training.fine_tuning={method: qlora, base: training}"], "its frozen weights are"),
        (["training.fine_tuning={targets: [query, query]}"], "name a matrix twice"),
        (["model=gpt2", "training.fine_tuning={targets: [gate]}"], "is not gated"),
    ],
)
def test_what_is_not_modelled_together(overrides: list[str], problem: str) -> None:
    with pytest.raises((PlanError, SpecError), match=problem):
        report(*overrides)


@pytest.mark.parametrize(
    "overrides",
    [
        [LORA],
        ["training.fine_tuning=qlora"],
        ["training.optimizer={name: apollo, rank: 64}"],
        ["training.optimizer=q-galore", "training.gradient_release=layerwise"],
        ["training.activation_keep_ratio=0.5"],
    ],
)
def test_the_echo_parses_to_the_same(overrides: list[str]) -> None:
    source = ScenarioSource(BASE).having(*(parse_override(text) for text in overrides))
    scenario = source.scenario()
    again = parse_scenario(scenario.normalised)
    assert again.training == scenario.training
    assert again.normalised == scenario.normalised


def test_the_echo_of_plain_training_has_no_new_keys() -> None:
    echo = str(report().scenario["training"])
    assert not [
        key for key in ("fine_tuning", "gradient_release", "keep_ratio", "rank") if key in echo
    ]


def test_quantised_weights_travel_as_they_are_stored() -> None:
    """nf4 takes 0.516 of 2 bytes in the matrices of the layers, 16 bits in tables and norms."""
    over = ["plan.sharding=zero3", "training.fine_tuning={method: qlora, rank: 8}"]
    scenario = load_scenario("llama2-7b-lora", over)
    model = scenario.model
    matrices = model.num_layers * layer_matrix_parameters(model) / num_parameters(model)
    expected = 0.516 * matrices + 2.0 * (1 - matrices)
    assert gathered_weight_bytes(scenario) == pytest.approx(expected)
    assert 0.5 < expected < 0.7
    plain = load_scenario("llama2-7b-lora", ["plan.sharding=zero3"])
    assert gathered_weight_bytes(plain) == 2.0
    assert gathered_weight_bytes(load_scenario("llama2-7b-lora", over[1:])) == 2.0
