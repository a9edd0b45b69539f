"""What else happens to processes: signals, one fork after another, and the reference, which starts nothing.

The pool's own forks and ends are in test_ends.py.
"""

import pytest
from fresh import PARALLEL, output

EVERY_PATH = """
matrix = x.reshape(100, 1000)
results = lambda: (fr.gelu(x), fr.gelu(matrix[:, ::2]), fr.softmax(matrix, axis=-1))
before = [r.tobytes() for r in results()]
def same():
    return [r.tobytes() for r in results()] == before
"""
SCRIPTS = {
    "one fork after another": "for _ in range(20): assert in_child(same)",
    "a child that goes on alone": "assert in_child(lambda: fr.set_num_threads(1) or same()) and same()",
    "new numbers of threads": """
for n in (1, 2, 7, 3, 300, 1, 4):
    cython.ufuncs.configure(n, 1, 1 << 16, n)
    assert same()
""",
    "signals": """
import signal
caught = []
signal.signal(signal.SIGALRM, lambda *_: caught.append(threading.current_thread() is threading.main_thread()))
signal.setitimer(signal.ITIMER_REAL, 0.005, 0.005)
while len(caught) < 30:
    assert same()
signal.setitimer(signal.ITIMER_REAL, 0)
assert all(caught)
""",
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_around_the_pool(name, kernels_only):
    output(PARALLEL + EVERY_PATH + SCRIPTS[name])


def test_the_reference_starts_no_thread():
    code = "alone = len(task_names()); fr.gelu(np.ones(10**6)); print(len(task_names()) - alone, alone)"
    assert output(code, FASTRELU_BACKEND="numpy") == "0 1"
