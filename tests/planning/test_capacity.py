"""Device counts for a number of tokens: what is simulated, and which count answers what."""

import pytest

from simulator.errors import SpecError
from simulator.planning.budget import Rates, Sourced
from simulator.planning.capacity import (
    CapacityPlan,
    Goal,
    Option,
    capacity_plan,
    counts_between,
    default_devices,
)
from simulator.planning.power import catalogue_power
from simulator.planning.variant import Job, nodes_assignment
from simulator.simulate import simulate
from simulator.spec.hardware import load_node
from simulator.spec.load import load_scenario
from simulator.views_planning import met

JOB = Job("llama2-7b-fsdp")
COUNTS = (32, 64, 128)
BATCH_OF_24 = ("training.global_batch_size=24", "plan.schedule=1f1b", "plan.virtual_stages=1")
RATES = Rates(
    Sourced(2.0, "given"),
    Sourced(800.0, "given"),
    Sourced(1.1, "given"),
    Sourced(0.4, "given"),
    Sourced(1.0, "given"),
)


def plan_for(goal: Goal, devices: tuple[int, ...] = COUNTS) -> CapacityPlan:
    return capacity_plan(JOB, goal, RATES, devices)


def test_the_scenario_itself_is_one_of_the_options() -> None:
    report = simulate(load_scenario("llama2-7b-fsdp"))
    option = plan_for(Goal(1e12)).options[2]
    assert option.prediction is not None
    assert (option.devices, option.prediction.step_time_s) == (128, report.step_time_s)
    assert option.prediction.step_time_high_s == report.step_time_high_s


def test_days_and_dollars_by_hand() -> None:
    """1e12 tokens / (256 x 4096) = 953,675 steps (rounded up), each of the simulated time."""
    option = plan_for(Goal(1e12)).options[2]
    assert option.prediction is not None
    assert option.cost is not None
    assert option.cost_low is not None
    assert option.cost_high is not None
    assert option.cost.steps == 953_675
    hours = 953_675 * option.prediction.step_time_s / 3600
    assert option.cost.usd == pytest.approx(128 * hours * 2.0)
    low, high = option.prediction.step_time_low_s, option.prediction.step_time_high_s
    assert option.cost_low.time_s == pytest.approx(953_675 * (low or 0))
    assert option.cost_high.time_s == pytest.approx(953_675 * (high or 0))


def test_answers_are_those_of_looking_through_all_options() -> None:
    free = plan_for(Goal(1e12))
    costs = {o.devices: o.cost for o in free.options if o.runs and o.cost}
    assert len(costs) == 3
    middle = sorted(cost.time_s for cost in costs.values())[1]
    cheap = sorted(cost.usd or 0.0 for cost in costs.values())[1]
    plan = plan_for(Goal(1e12, deadline_s=middle, budget_usd=cheap))
    in_time = {n for n, cost in costs.items() if cost.time_s <= middle}
    in_budget = {n for n, cost in costs.items() if (cost.usd or 0.0) <= cheap}
    assert plan.smallest == min(in_time)
    assert plan.cheapest == min(in_time & in_budget, key=lambda n: costs[n].usd or 0.0)
    assert plan.fastest == min(in_budget, key=lambda n: costs[n].time_s)


def test_the_slow_end_of_the_range_needs_more_devices() -> None:
    free = plan_for(Goal(1e12))
    (cost,) = (o.cost for o in free.options if o.devices == 64)
    assert cost is not None
    plan = plan_for(Goal(1e12, deadline_s=cost.time_s))
    assert plan.smallest == 64
    assert plan.smallest_sure == 128


def test_nothing_meets_an_impossible_deadline() -> None:
    plan = plan_for(Goal(1e12, deadline_s=1.0))
    assert (plan.smallest, plan.smallest_sure, plan.cheapest) == (None, None, None)
    assert plan.fastest == 128


def test_what_does_not_fit_answers_nothing() -> None:
    job = Job("llama2-7b-fsdp", ("training.seq_length=16384",))
    plan = capacity_plan(job, Goal(1e12), RATES, (64,))
    assert plan.options[0].prediction is not None
    assert not plan.options[0].runs
    assert (plan.cheapest, plan.fastest) == (None, None)


def test_counts_that_cannot_run_say_why() -> None:
    told: list[tuple[str, int, int | None]] = []
    job = Job("gpt3-175b-a100-64")
    plan = capacity_plan(job, Goal(1e9), RATES, (192, 100, 64), lambda *what: told.append(what))
    reasons = {option.devices: option.reason for option in plan.options}
    assert reasons[64] == ""
    assert "multiple of tp * cp * pp = 8 * 1 * 8" in reasons[100]
    assert "not divisible" in reasons[192]
    assert told == [(f"Simulating {n} devices", i, 3) for i, n in enumerate((64, 100, 192))]


def test_a_budget_needs_a_price() -> None:
    rates = Rates(None, RATES.power_w, RATES.pue, RATES.carbon_kg_per_kwh, RATES.goodput)
    with pytest.raises(SpecError, match="needs a price"):
        capacity_plan(JOB, Goal(1e12, budget_usd=1e6), rates, (64,))


def test_counts_tried_by_default_divide_the_batch() -> None:
    """dp 128, batch 256 of microbatches of 2: dp up to 128; 128 / 16 = 8 to 128."""
    assert default_devices(load_scenario("llama2-7b-fsdp")) == (8, 16, 32, 64, 128)
    # dp 1, batch 64: 1 to 16 replicas of 64 devices.
    assert default_devices(load_scenario("gpt3-175b-a100-64")) == (64, 128, 256, 512, 1024)


def test_nodes_of_presets_and_of_descriptions() -> None:
    preset, inline = load_scenario("gpt3-175b-a100-64"), load_scenario("llama2-7b-fsdp")
    assert nodes_assignment(preset, 65) == "cluster.nodes=9"
    assert nodes_assignment(inline, 64).startswith("cluster.num_nodes={value: 8,")


def test_power_of_a_dgx_h100_by_hand() -> None:
    """10,200 W for 8: 1,275 W each, of which 700 W are the accelerator's and 575 W the host's."""
    power = catalogue_power(load_node("dgx-h100"))
    assert power.value == pytest.approx(1275.0)
    assert "700 W" in power.source
    assert "575 W" in power.source


def test_counts_between_the_last_that_misses_and_the_first_that_meets_are_tried() -> None:
    """Batch 24: dp 1, 2, 4, 8 by doubling; 3 is the only divisor between 2 and 4."""
    job = Job("gpt3-175b-a100-64", BATCH_OF_24)
    free = capacity_plan(job, Goal(1e9), RATES)
    assert [option.dp for option in free.options] == [1, 2, 4, 8]
    two, four = (option.cost for option in free.options[1:3])
    assert two is not None
    assert four is not None
    middle = (two.time_s + four.time_s) / 2
    plan = capacity_plan(job, Goal(1e9, deadline_s=middle), RATES)
    assert [option.dp for option in plan.options] == [1, 2, 3, 4, 8]
    assert [option.in_time for option in plan.options] == [False, False, True, True, True]
    assert {option.in_budget for option in plan.options} == {None}
    assert (plan.smallest, plan.next_fewer) == (192, 128)
    assert [met(option) for option in plan.options][2] == "in time"
    # Counts that are asked for are all that is tried.
    asked = capacity_plan(job, Goal(1e9, deadline_s=middle), RATES, (128, 256))
    assert [option.dp for option in asked.options] == [2, 4]
    assert (asked.smallest, asked.next_fewer) == (256, None)


def test_a_budget_is_met_by_few_devices() -> None:
    job = Job("gpt3-175b-a100-64", BATCH_OF_24)
    usd = [o.cost.usd or 0.0 for o in capacity_plan(job, Goal(1e9), RATES).options if o.cost]
    assert usd == sorted(usd)
    plan = capacity_plan(job, Goal(1e9, budget_usd=(usd[1] + usd[2]) / 2), RATES)
    assert [option.dp for option in plan.options] == [1, 2, 3, 4, 8]
    assert [option.in_budget for option in plan.options][::2] == [True, True, False]


def test_no_more_than_sixteen_counts_are_tried_between() -> None:
    scenario = load_scenario("gpt3-175b-a100-64", ("training.global_batch_size=5040",))
    option = Option(64, 1, None, None, None, None, in_time=False)
    far = Option(64 * 5040, 5040, None, None, None, None, in_time=True)
    # 5040 has 60 divisors, of which 58 lie between: every fourth of them.
    counts = counts_between(scenario, (option, far))
    assert len(counts) == 14
    assert counts[0] == 64 * 4
