"""Compiled code of users beside others: cached across processes, in threads, where no kernels are."""

import textwrap
import threading

import numpy as np
import pytest
from cases import same_bits
from fresh import output

import fastrelu as fr

numba = pytest.importorskip("numba")
pytestmark = pytest.mark.usefixtures("kernels_only")

USER = """
import numba
import numpy as np
from fastrelu import gelu, softmax
from fastrelu import gelu as renamed

@numba.njit(cache=True)
def step(x):
    return gelu(x[0, 0]), renamed.backward(x, x), softmax(x, 1)

@numba.njit(cache=True)
def other(x):
    return x + 1
"""
RUN = """
import user, numpy as np
x = np.linspace(-2, 2, 12).reshape(3, 4)
first, second, third = user.step(x)
hits, misses = (sum(c.values()) for c in (user.step.stats.cache_hits, user.step.stats.cache_misses))
import fastrelu as fr
right = first == fr.gelu(x[0, 0]) and np.array_equal(second, fr.gelu.backward(x, x))
print(right and np.array_equal(third, fr.softmax(x, 1)), hits, misses)
"""


@pytest.fixture(scope="module")
def user(tmp_path_factory):
    """Runs code beside a user's module whose functions keep their compiled code on disk."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "user.py").write_text(textwrap.dedent(USER))
    paths = {"PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(folder / "cache")}

    def run(code, **environment):
        return output(code, start="", **paths, **environment)

    assert run(RUN) == "True 0 1"
    return run


def test_the_cache_serves_another_process(user):
    assert user(RUN) == "True 1 0"


def test_whatever_was_imported_and_compiled_first(user):
    assert user("import numba\nnumba.njit(lambda x: x + 1)(1)\n" + RUN) == "True 1 0"
    assert user("import fastrelu, sys\nassert 'numba' not in sys.modules\n" + RUN) == "True 1 0"


def test_code_for_a_kernel_that_is_gone(user):
    """An error of the call, not the end of the process, and not another kernel."""
    code = """
    from fastrelu.kernels.numba import symbols
    symbols.KERNELS = [k for k in symbols.KERNELS if k.name != "gelu"]
    import user, numpy as np
    try:
        user.step(np.ones((3, 4)))
    except RuntimeError as error:
        print(error)
    """
    assert "gelu: this installation of fastrelu has no compiled kernel 'gelu.float64'" in user(code)


def test_code_where_nothing_was_compiled(user):
    """What is cached for the kernels is an error when it runs; what is new has formulas of its own."""
    code = """
    import sys
    sys.modules["fastrelu.kernels.ufuncs"] = None
    import user, numba, numpy as np
    try:
        user.step(np.ones((3, 4)))
    except RuntimeError as error:
        print(error)
    print(numba.njit(lambda x: user.gelu(x))(0.0))
    """
    answer = user(code)
    assert answer == "gelu: this installation of fastrelu has no compiled kernel 'gelu.float64'\n0.0"


def test_several_threads_at_once():
    """Without the interpreter's lock, and on our own threads where one call is large."""

    @numba.njit(nogil=True)
    def compute(x):
        return fr.gelu(x), fr.softmax(x, 1)

    x = np.random.default_rng(0).normal(size=(300, 1000)).astype(np.float32)
    expected, made = (fr.gelu(x), fr.softmax(x, 1)), []
    compute(x[:1])
    workers = [threading.Thread(target=lambda: made.extend(compute(x) for _ in range(5))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(made) == 20
    assert all(same_bits(y, expected[0]) and same_bits(s, expected[1]) for y, s in made)


def test_inside_a_parallel_loop(thresholds):
    """Workers of Numba's that call kernels large enough for our threads."""

    @numba.njit(parallel=True)
    def rows(x, out, dx):
        for i in numba.prange(len(x)):
            fr.gelu(x[i], out=out[i])
            fr.silu.backward(out[i], x[i], out=dx[i])
            out[i, 0] += fr.logsumexp(x[i])

    thresholds(2, 1000, 1 << 40)
    x = np.random.default_rng(0).normal(size=(40, 20_000)).astype(np.float32)
    out, dx = np.empty_like(x), np.empty_like(x)
    rows(x, out, dx)
    expected = fr.gelu(x)
    assert same_bits(dx, fr.silu.backward(expected, x))
    expected[:, 0] += fr.logsumexp(x, 1)
    assert same_bits(out, expected)
