"""The store of this process: what was used last stays, and the bytes add up."""

from cache.answers import entry
from hypothesis import given
from hypothesis import strategies as st

from proxy.cache.memory import Memory

KEYS = st.sampled_from([b"a", b"b", b"c", b"d", b"e"])
STEPS = st.lists(st.tuples(KEYS, st.none() | st.integers(0, 3000)), max_size=60)


@given(STEPS)
def test_it_is_the_same_as_a_list_in_order_of_use(steps):
    memory, model = Memory(5000), {}
    for key, size in steps:
        if size is None:
            assert memory.get(key) == model.get(key)
            if key in model:
                model[key] = model.pop(key)
            continue
        stored = entry(b"x" * size)
        memory.put(key, stored)
        model.pop(key, None)
        if stored.size <= 5000:
            model[key] = stored
        while sum(it.size for it in model.values()) > 5000:
            del model[next(iter(model))]

        assert memory.used == sum(it.size for it in model.values()) <= memory.limit
        assert len(memory) == len(model)


def test_what_is_larger_than_everything_takes_its_forerunner_away():
    memory = Memory(2000)
    memory.put(b"a", entry())
    memory.put(b"b", entry())

    memory.put(b"a", entry(b"x" * 2000))

    assert memory.get(b"a") is None
    assert memory.get(b"b") is not None
    assert memory.used == entry().size
