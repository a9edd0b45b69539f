"""``python -m tests.ulp``: it finds, it goes on where it stopped, and its measures are right."""

import json
import subprocess
import sys
from pathlib import Path

import cases
import measure
import numpy as np
import pytest
from cases import BY_NAME
from ulp import distances


def command(*arguments):
    """A sweep's output; it must find nothing above the budget."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.ulp", *map(str, arguments)],
        cwd=Path(__file__).resolve().parent.parent,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_command_finds_what_the_table_promises(tmp_path):
    state = tmp_path / "state.json"
    for _ in range(2):  # the second run reads the first one's state
        found = command("--op", "relu", "--pass", "forward", "--stride", 100003, "--state", state)
        lines = found.splitlines()
        assert [line.split()[0] for line in lines] == ["kernel", "relu", "relu"]
        assert all(line.split()[-1] == "0" for line in lines[1:])
    record = json.loads(state.read_text())["done"]["relu () float64 0"]
    assert record["complete"]
    assert record["exact points"] > 4000
    page = tmp_path / "accuracy.md"
    command("--write", page, "--state", state)
    rows = [line for line in page.read_text().splitlines() if "| relu | forward |" in line]
    assert len(rows) == 2
    assert all(" 0.0000 " in row for row in rows)


def test_a_share_of_the_exhaustive_sweep_goes_on_where_it_stopped(tmp_path):
    """Killed after 4 of 8 binades, as far as its state file can tell."""
    share = ["--op", "sigmoid", "--pass", "backward", "--dtype", "float32", "--exhaustive", "--state"]
    whole, half = tmp_path / "whole.json", tmp_path / "half.json"
    command(*share, whole, "--regions", "124:130")
    expected = json.loads(whole.read_text())
    command(*share, half, "--regions", "124:128")
    state = json.loads(half.read_text())
    (key,), (record,) = expected["done"], state["done"].values()
    state["done"] = {key: record | {"complete": False, "share": expected["done"][key]["share"]}}
    half.write_text(json.dumps(state))
    command(*share, half, "--regions", "124:130")
    got, wanted = json.loads(half.read_text())["done"][key], expected["done"][key]
    assert wanted["points"] == 6 << 23
    assert {**got, "date": ""} == {**wanted, "date": ""}


def test_the_fast_measure_of_float32_agrees_with_the_careful_one():
    rng, info = np.random.default_rng(8), np.finfo(np.float32)
    exponents = rng.integers(info.minexp - info.nmant - 2, info.maxexp - 1, measure.BLOCK)
    true = np.ldexp(rng.uniform(1, 2, measure.BLOCK) * rng.choice([-1, 1], measure.BLOCK), exponents)
    got = (true * (1 + rng.uniform(-4, 4, true.size) * info.eps)).astype(np.float32)
    ruler = measure.Ruler()
    np.testing.assert_array_equal(ruler(got, true), distances(got, true))
    for wrong in (-1.0, -0.0, 2.0**128, np.inf, -np.nan):  # beside 1 in the other
        ones = np.ones(3)
        ones[1] = wrong
        assert ruler(np.ones(3, np.float32), ones) is None
    for wrong in (np.inf, np.nan):
        assert not ruler(np.array([1, wrong, 1], np.float32), np.ones(3)).max() < np.inf


def test_one_wrong_value_in_a_binade_is_found(monkeypatch):
    row, kernel = BY_NAME["sigmoid"]
    right, spot = cases.function(kernel), np.float32(0.8)

    def wrong(x, out=None):
        out = right(x, out=out)
        out[x == spot] *= np.float32(1 + 2.0**-21)
        return out

    monkeypatch.setattr(cases, "function", lambda kernel: wrong)
    found, region = measure.Found(), int(spot.view(np.uint32)) >> 23
    measure.sweep_region(row, kernel, region, (), 1, found)
    ulp, x = found.record["worst"][str(region)][0]
    assert float.fromhex(x) == spot
    assert abs(ulp - 0.69 * 8) <= 1  # two roundings
    assert found.record["points"] == 1 << 23
    assert found.record["above"] == {"budget": 1, "0.75": 1, "1": 1}


def test_an_oracle_that_is_off_is_noticed(monkeypatch):
    row, kernel = BY_NAME["sigmoid"]
    true = measure.oracle(kernel)

    def off(x, out):
        np.multiply(true(x), 1 + 2.0**-36, out=out)

    measure.check_oracle(row, kernel, ())
    monkeypatch.setattr(measure, "oracle", lambda kernel: off)
    with pytest.raises(SystemExit, match="no oracle"):
        measure.check_oracle(row, kernel, ())
