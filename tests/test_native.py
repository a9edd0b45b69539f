"""The pool and the memory cache by themselves, in C++, under ThreadSanitizer."""

import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
KERNELS = HERE.parent / "kernels"


def build(source, target, *flags):
    """Compile a driver, or skip where that cannot be done."""
    compiler = shutil.which("g++")
    if not compiler or not (KERNELS / "loops").is_dir():
        pytest.skip("needs g++ and the sources")
    options = ["-std=c++17", "-O1", "-g", "-pthread", f"-I{KERNELS}", *flags]
    command = [compiler, *options, str(source), "-o", str(target)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("sanitizer", ["thread", "address,undefined"])
def test_races(sanitizer, tmp_path):
    trivial = tmp_path / "trivial.cpp"
    trivial.write_text("int main() {}\n")
    flag = f"-fsanitize={sanitizer}"
    if build(trivial, tmp_path / "trivial", flag).returncode:
        pytest.skip(f"the compiler has no {flag}")
    built = build(HERE / "native/races.cpp", tmp_path / "races", flag)
    assert built.returncode == 0, built.stderr
    done = subprocess.run([tmp_path / "races"], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-4000:]
    assert not done.stderr
