"""How many threads this process may have: the environment, affinity, the container's quota."""

import os

import pytest
from fresh import output

from fastrelu import machine


@pytest.mark.parametrize(
    ("environment", "threads"),
    [
        ({"FASTRELU_NUM_THREADS": "3"}, 3),
        ({"FASTRELU_NUM_THREADS": " 3 "}, 3),
        ({"OMP_NUM_THREADS": "5"}, 5),
        ({"OMP_NUM_THREADS": "5,2"}, 5),
        ({"FASTRELU_NUM_THREADS": "3", "OMP_NUM_THREADS": "5"}, 3),
        ({"OMP_NUM_THREADS": "nonsense"}, machine.usable_processors()),
        ({"OMP_NUM_THREADS": "0"}, machine.usable_processors()),
        ({}, machine.usable_processors()),
    ],
)
def test_the_environment_sets_the_number_of_threads(environment, threads):
    assert output("print(fr.get_num_threads())", **environment) == str(threads)


@pytest.mark.parametrize("bad", ["²", "--3", "9" * 5000, "1e3", "0x2", "３"])
def test_numbers_that_int_reads_or_fails_on_otherwise(bad):
    code = """
        try:
            import fastrelu
        except ValueError as error:
            print(error)
    """
    message = output(code, start="", FASTRELU_NUM_THREADS=bad)
    assert "FASTRELU_NUM_THREADS" in message
    assert bad in message
    assert "whole number of at least 1" in message


def test_affinity():
    processors = sorted(os.sched_getaffinity(0))
    code = f"""
        os.sched_setaffinity(0, {{{processors[0]}}})
        import fastrelu as fr
        print(fr.get_num_threads())
    """
    assert output(code, start="import os") == "1"


def write_group(folder, quota, period=100_000, version=2):
    folder.mkdir(parents=True, exist_ok=True)
    if version == 2:
        (folder / "cpu.max").write_text(f"{quota} {period}\n")
    else:
        (folder / "cpu.cfs_quota_us").write_text(f"{quota}\n")
        (folder / "cpu.cfs_period_us").write_text(f"{period}\n")


@pytest.mark.parametrize(
    ("groups", "quotas", "expected"),
    [
        ("0::/", {"": "max"}, None),
        ("0::/", {"": 250_000}, 2.5),
        ("0::/a/b", {"a/b": 400_000, "a": "max"}, 4),
        ("0::/a/b", {"a/b": 400_000, "a": 300_000, "": 800_000}, 3),
        ("0::/a/b", {"a/b": "max", "a": "max", "": 150_000}, 1.5),
        ("0::/a/b", {"a/other": 100_000, "a/b": "max"}, None),
        ("0::/../../host/path", {"": 200_000}, 2),  # as a container may see its own
        ("0::/a", {"a": "nonsense"}, None),
        ("0::/a", {}, None),
        ("", {"": 200_000}, 2),  # no /proc
        ("nonsense", {"": 200_000}, 2),
    ],
)
def test_quota_of_cgroup_v2(tmp_path, groups, quotas, expected):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text(groups)
    for folder, quota in quotas.items():
        write_group(tmp_path / "sys/fs/cgroup" / folder, quota)
    assert machine._cgroup_quota(tmp_path) == expected


@pytest.mark.parametrize("mount", ["cpu", "cpu,cpuacct"])
@pytest.mark.parametrize(
    ("path", "quotas", "expected"),
    [
        ("/", {"": -1}, None),
        ("/", {"": 250_000}, 2.5),
        ("/docker/id", {"docker/id": 300_000, "docker": -1, "": -1}, 3),
        ("/docker/id", {"docker/id": -1, "docker": 100_000}, 1),
        ("/docker/id", {"": 200_000}, 2),  # the group itself is mounted, its path is the host's
        ("/docker/id", {"": 0}, None),
    ],
)
def test_quota_of_cgroup_v1(tmp_path, mount, path, quotas, expected):
    (tmp_path / "proc/self").mkdir(parents=True)
    lines = [f"4:memory:{path}", f"3:{mount}:{path}", "2:cpuset:/else", "1:name=systemd:/", "0::/"]
    (tmp_path / "proc/self/cgroup").write_text("\n".join(lines))
    for folder, quota in quotas.items():
        write_group(tmp_path / "sys/fs/cgroup" / mount / folder, quota, version=1)
    assert machine._cgroup_quota(tmp_path) == expected


def test_a_quota_limits_the_processors(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    for quota, processors in ((None, 8), (0.3, 1), (1.0, 1), (2.6, 3), (4.0, 4), (64.0, 8)):
        monkeypatch.setattr(machine, "_cgroup_quota", lambda quota=quota: quota)
        assert machine.usable_processors.__wrapped__() == processors
