from __future__ import annotations

from dataclasses import replace

from simulator.simulate import simulate
from simulator.spec.load import load_scenario
from simulator.whatif.runs import simulate_each


def test_the_same_job_is_simulated_once_whatever_it_is_called() -> None:
    first = load_scenario("gpt2-xl-one-gpu", ["training.micro_batch_size=1"])
    other = load_scenario("gpt2-xl-one-gpu", ["training.micro_batch_size=2"])
    again = replace(first, name="again")
    told: list[tuple[str, int, int | None]] = []
    reports = simulate_each([first, other, again], lambda *what: told.append(what))
    assert told == [("Simulating", done, 2) for done in range(3)]
    assert reports[0] is reports[2]
    expected = [simulate(one, levers=False).step_time_s for one in (first, other)]
    assert [report.step_time_s for report in reports[:2]] == expected
