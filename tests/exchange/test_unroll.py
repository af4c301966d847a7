"""Steps and exchanges on one graph, worked by hand."""

import numpy as np
import pytest

from simulator.exchange.program import InnerStep, Program, Transfer
from simulator.exchange.steady import steady_steps_s
from simulator.exchange.unroll import unroll

STEP = InnerStep(num_layers=4, forward_s=1.0, middle_s=0.0, backward_s=2.0, tail_s=0.5)


def test_a_step_is_its_parts() -> None:
    assert STEP.seconds == 3.5
    alone = unroll(STEP, Program(1, ()), 3).step_times_s()
    assert alone.tolist() == [[3.5, 3.5, 3.5]]


def test_a_blocking_exchange_ends_its_period() -> None:
    # Steps of 3.5 s; after the third 0.2 s of packing, 5 s on the wire, 0.3 s of unpacking.
    program = Program(3, (Transfer(2, (), 5.0, before_s=0.2, after_s=0.3),))
    assert steady_steps_s(STEP, program)[0] == pytest.approx([3.5, 3.5, 9.0])


def test_an_asynchronous_exchange_stalls_only_if_it_has_not_ended() -> None:
    # Launched every 2 steps and waited for 2 steps later: 2 * 3.5 s hide 7 s.
    hidden = Program(2, (Transfer(1, (), 6.9, overlap_steps=2),))
    assert steady_steps_s(STEP, hidden)[0] == pytest.approx([3.5, 3.5])
    late = Program(2, (Transfer(1, (), 8.0, overlap_steps=2),))
    # The exchange takes 8 s, and the next leaves when it has come: steps of 3.5 and 4.5 s.
    assert steady_steps_s(STEP, late)[0] == pytest.approx([3.5, 4.5])


def test_layers_leave_as_their_backward_ends_and_are_waited_for_where_they_are_used() -> None:
    # Four layers of 0.25 s forward and 0.5 s backward, 1 s each on the wire. Layer 3 leaves 1.5 s
    # into the step, layers 2, 1, 0 follow one another: layer 0 arrives at 1.5 + 4 = 5.5 s, when
    # the step (3.5 s) has been over for 2 s; all others are there by then. The next step waits
    # for it: 3.5 + 2.0 s.
    program = Program(1, (Transfer(0, (0, 1, 2, 3), 4.0),), by_layer=True)
    steps_s = unroll(STEP, program, 3).step_times_s()[0]
    assert steps_s == pytest.approx([3.5, 5.5, 5.5])


def test_whole_steps_may_pass_first() -> None:
    program = Program(4, (Transfer(0, (1,), 9.0, overlap_steps=2),), by_layer=True)
    # Layer 1 leaves 1 + 3 * 0.5 = 2.5 s into step 1 and arrives at 11.5 s; step 4 begins at 10.5 s
    # and comes to layer 1 at 10.75 s: it waits 0.75 s.
    assert steady_steps_s(STEP, program)[0] == pytest.approx([3.5, 3.5, 3.5, 4.25])


def test_fragments_share_one_link() -> None:
    # Both leave after step 1 of 2; the second passes when the first has: 4 + 4 s.
    program = Program(2, (Transfer(0, (), 4.0), Transfer(0, (), 4.0)))
    assert steady_steps_s(STEP, program)[0] == pytest.approx([11.5, 3.5])


def test_a_batch_scales_the_wire_alone() -> None:
    program = Program(1, (Transfer(0, (), 5.0, before_s=0.25),))
    steps_s = steady_steps_s(STEP, program, np.array([1.0, 2.0, 0.0]))
    assert steps_s[:, 0] == pytest.approx([8.75, 13.75, 3.75])


def test_the_transient_is_not_the_answer() -> None:
    # 30 s on the wire, waited for 8 steps of 3.5 s = 28 s later, every 2 steps: the link is the
    # bottleneck, and the steady period is what passes it.
    program = Program(2, (Transfer(1, (), 30.0, overlap_steps=8),))
    assert steady_steps_s(STEP, program)[0].sum() == pytest.approx(30.0)
