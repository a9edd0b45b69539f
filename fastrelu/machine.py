"""What this process may use of the machine: processors, their caches, the CPU's name."""

from __future__ import annotations

import functools
import os
import platform
from pathlib import Path

__all__ = ["cpu_model", "last_level_cache", "usable_processors"]


def _read(path):
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _quota_of(group):
    """The processors' worth of time that one control group grants, or None: cgroup v2, then v1."""
    limit, _, period = _read(group / "cpu.max").partition(" ")
    if not limit:
        limit = _read(group / "cpu.cfs_quota_us")
        period = _read(group / "cpu.cfs_period_us")
    try:
        quota = float(limit) / float(period)
    except (ValueError, ZeroDivisionError):
        return None  # "max", or no such group
    return quota if quota > 0 else None


def _cgroup_quota(root=Path("/")):
    """The least quota of this process's control groups and all that are above them, or None.

    A container may show the host's path of a group but mount the group itself: what is not there under its
    path is looked for nearer to the mount.
    """
    quotas = []
    for line in _read(root / "proc/self/cgroup").splitlines() or ["0::/", "1:cpu:/"]:
        _, controllers, path = [*line.split(":", 2), "", ""][:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        own = Path(path.strip("/"))
        for mount in ("cpu", controllers) if controllers else ("", "unified"):
            quotas += [_quota_of(root / "sys/fs/cgroup" / mount / group) for group in (own, *own.parents)]
    return min((quota for quota in quotas if quota is not None), default=None)


@functools.cache
def usable_processors() -> int:
    """Processors by affinity, cut to the container's quota (at least one)."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, count if quota is None else min(count, round(quota)))


@functools.cache
def last_level_cache() -> int:
    """Bytes of the largest cache that processor 0 sees; 32 MiB where the system does not say."""
    largest = 0
    for size in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = _read(size)
        unit = {"K": 1 << 10, "M": 1 << 20}.get(text[-1:], 1)
        largest = max(largest, int(text.rstrip("KM") or 0) * unit)
    return largest or 32 << 20


@functools.cache
def cpu_model() -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
