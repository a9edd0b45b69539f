"""Benchmarks: one group for every operation of the table, dtype and size; fastrelu and the peers are in it.

    pytest bench                                       # against whatever is installed
    pytest bench -k "gelu and float32" --bench-sizes 1000000 --bench-threads 1
    pytest bench --benchmark-save=before; ...; pytest-benchmark compare

The peers' lines, what "on equal terms" means and the check against the reference are in `fastrelu.peers`; a
result that is off is never timed.  The members of a group run one after another: to gate on a ratio take
`fastrelu bench`, where they take turns.
"""

import functools

import pytest

from fastrelu import peers
from fastrelu.config import configuration
from fastrelu.control import get_num_threads

DTYPES, SIZES = "float32,float64", "16,1000,1000000"


def pytest_addoption(parser):
    group = parser.getgroup("fastrelu")
    group.addoption("--bench-dtypes", default=DTYPES, help=f"default: {DTYPES}")
    group.addoption("--bench-sizes", default=SIZES, help=f"elements; default: {SIZES}")
    group.addoption("--bench-threads", type=int, default=get_num_threads(), help="default: fastrelu's")


def pytest_report_header(config):
    here = peers.installed()
    missing = [peer for peer in peers.PEERS if peer not in here]
    absent = f"; not installed: {', '.join(missing)}" if missing else ""
    return f"fastrelu on {config.getoption('--bench-threads')} thread(s) beside {', '.join(here)}{absent}"


def pytest_generate_tests(metafunc):
    """A test that asks for `job` runs for every operation in its module's OPERATIONS, by every peer."""
    if "job" not in metafunc.fixturenames:
        return
    here = ("fastrelu", *peers.installed())
    cases = []
    for operation in metafunc.module.OPERATIONS:
        who = [peer for peer in ("fastrelu", *peers.PEERS) if peers.knows(peer, operation)]
        for dtype in metafunc.config.getoption("--bench-dtypes").split(","):
            for size in map(int, metafunc.config.getoption("--bench-sizes").split(",")):
                for peer in who:
                    skip = [] if peer in here else [pytest.mark.skip(reason=f"{peer} is not installed")]
                    name = f"{operation.function}-{operation.pass_}-{dtype}-{size}-{peer}"
                    cases.append(pytest.param((operation, dtype, size, peer), id=name, marks=skip))
    metafunc.parametrize("job", cases, indirect=True)


@functools.lru_cache(maxsize=1)  # a group runs in one go and shares its arrays
def _data(operation, dtype, size):
    return peers.Data(operation, dtype, size)


@pytest.fixture(scope="session")
def threads(request):
    """The number of threads; the peers that the selected tests need are set to it for the whole session."""
    count = request.config.getoption("--bench-threads")
    cases = [item.callspec.params.get("job") for item in request.session.items if hasattr(item, "callspec")]
    wanted = {case[3] for case in cases if case}
    with peers.session([peer for peer in peers.installed() if peer in wanted], count):
        yield count


@pytest.fixture
def job(request, threads):
    """A job that is ready to be timed: prepared, and its result checked against the reference."""
    operation, dtype, size, peer = request.param
    data = _data(operation, dtype, size)
    made = peers.prepare(peer, operation, data, threads)
    if made is None:
        pytest.skip(f"{peer} has no {operation} for {dtype}")
    off = peers.deviation(made, data)
    if off > peers.TOLERANCE[dtype]:
        report = pytest.fail if peer == "fastrelu" else pytest.skip
        report(f"{peer}: {operation} for {dtype} is off by {off:.1e}: {made.shown}")
    benchmark = request.getfixturevalue("benchmark")  # not before: it complains when a test is skipped
    benchmark.group = f"{operation} {dtype} {size}"
    benchmark.extra_info.update(
        statement=made.shown, mode=made.mode, deviation=off, shape=list(data.shape), threads=threads
    )
    return made


def pytest_benchmark_update_machine_info(config, machine_info):
    machine_info["fastrelu"] = configuration()  # CPU, instruction sets, versions and settings


def pytest_benchmark_update_json(config, benchmarks, output_json):
    output_json["fastrelu"] = configuration() | {"threads": config.getoption("--bench-threads")}
