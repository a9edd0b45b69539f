"""The memory of large results: used again, within its limit, given back, and never that of two arrays."""

import copy
import gc
import itertools
import pickle
import threading
import tracemalloc

import numpy as np
import pytest
from numpy._core.multiarray import get_handler_name

import fastrelu as fr
from fastrelu.backends import cython

MIB = 1 << 20
HUGE_PAGE = 2 * MIB
MOST_BLOCKS = 512  # MAX_BLOCKS of memory.h

pytestmark = pytest.mark.usefixtures("kernels_only")


def held():
    return cython.ufuncs.cache_state()[0]


def reused():
    return cython.ufuncs.cache_state()[1]


def values(megabytes, seed=0):
    """float32 values that fill so many MiB."""
    return np.random.default_rng(seed).normal(0, 3, int(megabytes * MIB) // 4).astype(np.float32)


def address(array):
    return array.__array_interface__["data"][0]


def nothing_shared(arrays):
    places = sorted((address(a), a.nbytes) for a in arrays)
    return all(a + n <= b for (a, n), (b, _) in itertools.pairwise(places))


@pytest.fixture(autouse=True)
def cache():
    """An empty cache of the usual size; afterwards it is as it was."""
    before = fr.get_cache_limit()
    fr.set_cache_limit(0)
    fr.set_cache_limit(64)
    yield
    fr.set_cache_limit(0)
    fr.set_cache_limit(before)


# What an array on a block is


X = values(4)
FRESH = {
    "forward": lambda: fr.relu(X),
    "parameters": lambda: fr.leaky_relu(X, 0.2),
    "backward": lambda: fr.gelu.backward(X, X),
    "from y": lambda: fr.elu.backward(X, y=X),
    "float64": lambda: fr.relu(X.astype(np.float64)),
    "float16": lambda: fr.relu(np.ones(2 * MIB, np.float16)),
    "integers": lambda: fr.gelu(np.ones(MIB, np.int32)),
    "Fortran": lambda: fr.relu(np.asfortranarray(X.reshape(1024, -1))),
    "strided": lambda: fr.relu(X.reshape(1024, -1)[:, :-1]),
    "transposed": lambda: fr.relu(X.reshape(256, 64, 64).transpose(2, 0, 1)),
    "softmax": lambda: fr.softmax(X.reshape(1024, -1), axis=-1),
}


@pytest.mark.parametrize("name", FRESH)
def test_a_large_result_owns_its_block(name):
    y = FRESH[name]()
    assert get_handler_name(y) == "fastrelu"
    assert y.flags.owndata
    assert y.flags.writeable
    assert y.base is None
    assert address(y) % HUGE_PAGE == 0
    y[...] = 7


def test_only_large_results_do():
    assert get_handler_name(fr.relu(values(1.9))) == "default_allocator"
    assert get_handler_name(fr.relu(values(2))) == "fastrelu"
    for small in (fr.relu(np.ones(16, np.float32)), fr.relu(np.empty(0)), fr.relu([1.0])):
        assert get_handler_name(small) == "default_allocator"


def test_numpy_keeps_its_own_allocator():
    y = fr.relu(X)
    assert get_handler_name() == "default_allocator"
    for made in (np.empty_like(y), y + 1, y.copy(), np.copy(y), np.concatenate([y, y]), y.astype(np.float64)):
        assert get_handler_name(made) == "default_allocator"
    seen = []
    thread = threading.Thread(target=lambda: seen.extend([fr.relu(X), get_handler_name()]))
    thread.start()
    thread.join()
    assert seen[1] == "default_allocator"


def test_an_error_leaves_numpys_allocator():
    too_large = np.broadcast_to(np.float32(1), (2**47,))
    for wrong in (
        lambda: fr.relu(too_large),
        lambda: fr.gelu.backward(too_large, too_large),
        lambda: fr.leaky_relu(X, negative_slope="steep"),
        lambda: fr.relu(X, out=np.empty(3, np.float32)),
    ):
        with pytest.raises((MemoryError, ValueError, TypeError)):
            wrong()
        assert get_handler_name() == "default_allocator"
        assert get_handler_name(np.ones(MIB)) == "default_allocator"
    np.testing.assert_array_equal(fr.relu(X), np.maximum(X, 0))


def test_tracemalloc_sees_blocks():
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        y = fr.relu(X)
        assert tracemalloc.get_traced_memory()[0] - before >= y.nbytes
        del y
        assert tracemalloc.get_traced_memory()[0] - before < MIB
    finally:
        tracemalloc.stop()


# Blocks are used again


def test_a_block_is_used_again():
    for f in (fr.relu, fr.gelu):
        y = f(X)
        place, count = address(y), reused()
        assert held() == 0
        del y
        assert held() == 4 * MIB
        y = f(X)
        assert (address(y), reused(), held()) == (place, count + 1, 0)
        del y
        fr.set_cache_limit(0)
        fr.set_cache_limit(64)


def test_a_small_result_takes_no_large_block():
    del_later = fr.relu(values(40))
    del del_later
    assert held() == 40 * MIB
    y = fr.relu(X)
    assert held() == 40 * MIB
    del y
    assert held() == 44 * MIB


def test_the_latest_blocks_stay():
    fr.set_cache_limit(8)
    old, new = fr.relu(values(6)), fr.relu(values(4))
    place = address(new)
    del old
    assert held() == 6 * MIB
    del new
    assert held() == 4 * MIB
    assert address(fr.relu(X)) == place


def test_live_results_share_nothing():
    """Each array keeps its own number, whatever is made, freed, resized and limited around it."""
    rng = np.random.default_rng(5)
    sources = {n: np.ones(int(n * MIB) // 4, np.float32) for n in (2, 2.5, 3, 4.1, 5)}
    alive = {}
    for number in range(1, 300):
        y = fr.relu(sources[rng.choice(list(sources))])
        y *= number
        alive[number] = y
        y = None
        if rng.random() < 0.6 or len(alive) > 8:
            chosen = rng.choice(list(alive))
            gone = alive.pop(chosen)
            assert (gone == chosen).all()
            if rng.random() < 0.2:
                gone.resize(int(gone.size * rng.choice([0.3, 1.7])), refcheck=False)
                kept = min(gone.size, int(2 * MIB) // 4)
                assert set(np.unique(gone[:kept])) <= {0, chosen}
                gone[...] = chosen
                alive[chosen] = gone
            gone = None
        if rng.random() < 0.1:
            fr.set_cache_limit(int(rng.choice([0, 4, 11, 64])))
        assert held() <= fr.get_cache_limit() * MIB
    for number, y in alive.items():
        assert (y == number).all()
    assert nothing_shared(alive.values())


def test_results_of_many_threads_share_nothing():
    wrong = []

    def work(number):
        for i in range(40):
            y = fr.relu(np.full(MIB // 2 + 1000 * (i % 7), number, np.float32))
            if not (y == number).all():
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert held() <= 64 * MIB


# The limit


def test_no_more_than_the_limit_is_held():
    for limit in (64, 10, 4, 3, 0, 5, 64):
        fr.set_cache_limit(limit)
        assert held() <= limit * MIB
        results = [fr.relu(values(n)) for n in (2, 4, 6, 8, 10)]
        while results:
            results.pop()
            assert held() <= limit * MIB
        if limit >= 4:
            assert held()


def test_what_is_larger_than_the_limit_is_not_held():
    fr.set_cache_limit(3)
    y = fr.relu(X)
    assert get_handler_name(y) == "fastrelu"
    del y
    assert held() == 0


def test_zero_turns_it_off():
    y = fr.relu(X)
    z = fr.relu(X)
    del z
    assert held()
    fr.set_cache_limit(0)
    assert held() == 0
    assert get_handler_name(fr.relu(X)) == "default_allocator"
    np.testing.assert_array_equal(y, np.maximum(X, 0))  # what lives is not touched
    del y
    assert held() == 0


# What else can happen to an array


def test_resize():
    y = fr.relu(X)
    expected = y.copy()
    for n in (X.size + 1, 3 * X.size, X.size, 1000, 2 * X.size, 0, 5):
        kept = min(n, y.size)
        y.resize(n, refcheck=False)
        assert y.size == n
        np.testing.assert_array_equal(y[:kept], expected[:kept])
        assert not y[kept:].any()
        expected = y.copy()
    del y
    fr.set_cache_limit(0)
    fr.set_cache_limit(64)
    y = fr.relu(X)
    y.resize(5, refcheck=False)
    del y
    assert held() == HUGE_PAGE


def test_views_outlive_the_array():
    view = fr.relu(X)[::2]
    others = [fr.relu(values(4, seed)) for seed in range(1, 6)]
    np.testing.assert_array_equal(view, np.maximum(X, 0)[::2])
    del others
    memory = memoryview(fr.relu(X))
    fr.relu(-X)
    np.testing.assert_array_equal(np.frombuffer(memory, np.float32), np.maximum(X, 0))
    del view, memory
    gc.collect()
    assert 0 < held() <= 64 * MIB


def test_copies_and_pickles():
    y = fr.relu(X)
    copies = [pickle.loads(pickle.dumps(y, p)) for p in range(2, pickle.HIGHEST_PROTOCOL + 1)]
    copies += [copy.copy(y), copy.deepcopy(y), y.copy(), y.tolist()]
    del y
    fr.relu(-X)  # takes its block
    for one in copies:
        np.testing.assert_array_equal(one, np.maximum(X, 0))


def test_unpickled_into():
    y = fr.relu(X)
    y.__setstate__(np.arange(6.0).__reduce__()[2])  # as pickle does: it replaces the memory
    assert y.tolist() == [0, 1, 2, 3, 4, 5]
    assert held() == 4 * MIB


def test_freed_in_another_thread():
    results = [fr.relu(values(4, seed)) for seed in range(6)]
    thread = threading.Thread(target=results.clear)
    thread.start()
    thread.join()
    assert held() == 24 * MIB


def test_more_results_than_the_table_has_room_for():
    """Beyond it they come from malloc; they are still the handler's, and freed by it."""
    shape, dtype = (MIB // 2,), np.dtype(np.float32)
    results = [cython.ufuncs.empty(shape, dtype) for _ in range(MOST_BLOCKS + 20)]
    assert {get_handler_name(y) for y in results} == {"fastrelu"}
    assert [address(y) % HUGE_PAGE == 0 for y in results[:MOST_BLOCKS]] == [True] * MOST_BLOCKS
    assert nothing_shared(results)
    for number, y in enumerate(results[-40:]):  # of all of them it would be a gigabyte
        y[...] = number
    results[-1].resize(MIB, refcheck=False)
    assert all((y[: MIB // 2] == number).all() for number, y in enumerate(results[-40:]))
    results.clear()
    assert held() == 64 * MIB
    fr.set_cache_limit(0)
    np.testing.assert_array_equal(fr.relu(X), np.maximum(X, 0))


def test_a_full_table_makes_room():
    """Idle blocks of other sizes make way for a new one."""
    fr.set_cache_limit(200)
    idle = [cython.ufuncs.empty((40 * MIB // 4,), np.dtype(np.float32)) for _ in range(3)]
    live = [cython.ufuncs.empty((MIB // 2,), np.dtype(np.float32)) for _ in range(MOST_BLOCKS - 3)]
    idle.clear()
    assert held() == 120 * MIB
    y = cython.ufuncs.empty((MIB,), np.dtype(np.float32))
    assert address(y) % HUGE_PAGE == 0
    assert held() == 80 * MIB
    del live
