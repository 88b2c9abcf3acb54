"""The fuzzer's invariants hold for its seeds, for every case of the corpora, and for what is drawn.

`make fuzz` looks for more; what it finds is kept in `seeds/` and run here.
"""

import pytest
from exactness.fuzz import SEEDS, TARGETS, feed_caller, feed_origin, run
from hypothesis import given, settings
from hypothesis import strategies as st

KEPT = sorted(path for name in TARGETS for path in (SEEDS / name).iterdir())

pieces = st.sampled_from([0, 1, 7, 255])
behaviours = st.integers(0, 23)


@pytest.mark.parametrize("path", KEPT, ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_the_fuzzer_once_found_holds(path):
    run(TARGETS[path.parent.name][0], path.read_bytes())


@pytest.mark.parametrize("size", [0, 1, 5])
@pytest.mark.parametrize("behaviour", [0, 1, 2, 4, 8, 12])
@pytest.mark.parametrize("name", TARGETS)
def test_every_case_of_the_corpora_holds_in_pieces_of_any_size(name, behaviour, size):
    target, corpus = TARGETS[name]
    for raw in corpus()[(behaviour + size) % 7 :: 7]:
        run(target, bytes((behaviour, size)) + raw)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(TARGETS["caller"][1]()), min_size=2, max_size=3), behaviours, pieces
)
def test_cases_one_after_the_other_hold(cases, behaviour, size):
    run(feed_caller, bytes((behaviour, size)) + b"".join(cases))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.sampled_from(TARGETS["origin"][1]()), min_size=2, max_size=3), behaviours, pieces
)
def test_answers_one_after_the_other_hold(cases, behaviour, size):
    run(feed_origin, bytes((behaviour, size)) + b"".join(cases))
