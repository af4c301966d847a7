"""How far work is: what a bar is told, in order."""

from simulator.progress import Progress, followed, named, part_of

Told = list[tuple[str, int, int | None]]


def listener() -> tuple[Told, Progress]:
    told: Told = []
    return told, lambda what, done, total: told.append((what, done, total))


def test_an_item_is_done_once_the_next_is_asked_for() -> None:
    told, progress = listener()
    seen = [(item, told[-1][1]) for item in followed(["a", "b"], "Reading", progress)]
    assert seen == [("a", 0), ("b", 1)]
    assert told == [("Reading", done, 2) for done in (0, 1, 2)]


def test_only_sequences_have_a_length_of_their_own() -> None:
    told, progress = listener()
    assert list(followed(iter("ab"), "Reading", progress)) == ["a", "b"]
    assert list(followed(iter("ab"), "Reading", progress, 7)) == ["a", "b"]
    assert [total for _, _, total in told] == [None] * 3 + [7] * 3


def test_nothing_to_do_is_told_too() -> None:
    told, progress = listener()
    assert list(followed([], "Reading", progress)) == []
    assert told == [("Reading", 0, 0)]


def test_a_part_counts_in_the_whole_and_carries_a_name() -> None:
    told, progress = listener()
    part_of(progress, 10, 40)("Evaluating", 3, 5)
    named(progress, "megatron")("Fitting", 2, None)
    assert told == [("Evaluating", 13, 40), ("megatron: Fitting", 2, None)]
