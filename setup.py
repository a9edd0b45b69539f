"""Build the extensions; everything else about the package stands in pyproject.toml.

The blocks (one C++ source, written from the table) are compiled once for each instruction set, the ufunc
module once for the baseline.  What the compiler cannot do at all is skipped, and fastrelu says so at run
time; what it should do and fails at is an error.
"""

import copy
import os
import platform
import sys
import tempfile
from pathlib import Path

from setuptools import Extension, find_packages, setup
from setuptools.command.build_ext import build_ext

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "tools"))
import write_kernels  # noqa: E402
import write_python  # noqa: E402

# Named levels; -march comes after a user's CXXFLAGS and overrides them, or a baseline would not be one.
INSTRUCTION_SETS = {
    "x86_64": {
        "x86_64_v2": ["-march=x86-64-v2"],
        "avx2": ["-march=x86-64-v3"],
        "avx512": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
    }
}
FLAGS = ["-g0", "-O2", "-std=c++17", "-fno-fast-math", "-ffp-contract=off", "-fvisibility=hidden"]
FLAGS += ["-fno-exceptions", "-fno-threadsafe-statics"]  # the modules need nothing but the C library
# Formulas must end up inside the loops that drive them; Cython's plain `inline` does not see to that.
INLINE = ("CYTHON_INLINE", "inline __attribute__((always_inline))")


def packages():
    write_python.write()
    return [
        *find_packages(include=["fastrelu*"]),
        "fastrelu.kernels",
        "fastrelu.kernels.cuda",
        "fastrelu.kernels.math",
        "fastrelu.kernels.numba",
    ]


def extensions():
    levels = INSTRUCTION_SETS.get(platform.machine(), {})
    if not levels:
        return []
    import numpy
    from Cython.Build import cythonize

    generated = ROOT / "build/generated"
    write_kernels.write(generated)
    headers = [str(p.relative_to(ROOT)) for p in sorted((ROOT / "kernels").rglob("*.h"))]
    options = {
        "language": "c++",
        "include_dirs": ["kernels"],
        "depends": headers,
        "extra_link_args": ["-Wl,--as-needed"],
    }
    blocks, *others = cythonize(
        [
            Extension("fastrelu.kernels.blocks", ["build/generated/blocks.pyx"], **options),
            Extension(
                "fastrelu.kernels.activations",
                ["build/generated/fastrelu/kernels/activations.pyx"],
                extra_compile_args=FLAGS + levels["x86_64_v2"],
                **options,
            ),
            Extension(
                "fastrelu.kernels.ufuncs",
                ["kernels/ufuncs.pyx"],
                extra_compile_args=FLAGS + levels["x86_64_v2"],
                define_macros=[
                    ("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"),
                    ("NPY_TARGET_VERSION", "NPY_2_0_API_VERSION"),
                ],
                **{**options, "include_dirs": ["kernels", numpy.get_include()]},
            ),
            *(
                Extension(
                    f"fastrelu.kernels.cuda.{name}",
                    [f"kernels/cuda/{name}.pyx"],
                    extra_compile_args=FLAGS + levels["x86_64_v2"],
                    **options,
                )
                for name in ("direct", "plain_calls")
            ),
        ],
        build_dir="build/cython",
        include_path=["kernels", str(generated)],
        language_level=3,
    )
    made = others
    for name, flags in levels.items():
        macros = [INLINE, ("PyInit_blocks", f"PyInit__{name}")]
        made.append(
            Extension(
                f"fastrelu.kernels._{name}",
                blocks.sources,
                extra_compile_args=FLAGS + flags,
                define_macros=macros,
                **options,
            )
        )
    return made


class BuildKernels(build_ext):
    def finalize_options(self):
        super().finalize_options()
        self.parallel = self.parallel or len(os.sched_getaffinity(0))

    def build_extensions(self):
        usable = [e for e in self.extensions if self.can_compile(e.extra_compile_args)]
        if len(usable) < len(self.extensions) and os.environ.get("FASTRELU_REQUIRE_KERNELS"):
            missing = ", ".join(e.name for e in self.extensions if e not in usable)
            raise SystemExit(f"FASTRELU_REQUIRE_KERNELS is set, but the compiler cannot build {missing}")
        self.extensions = usable
        super().build_extensions()
        if usable:
            self.copy_declarations(Path(self.get_ext_fullpath("fastrelu.kernels.ufuncs")).parent)

    def copy_extensions_to_source(self):
        super().copy_extensions_to_source()
        if self.extensions:
            self.copy_declarations(ROOT / "kernels")

    def copy_declarations(self, package):
        """Put the generated .pxd beside its module, for other people's cimport."""
        self.copy_file(str(ROOT / "build/generated/fastrelu/kernels/activations.pxd"), str(package))

    def build_extension(self, ext):
        # threads share `self`, and the one source of several modules would share one object file
        own = copy.copy(self)
        own.build_temp = os.path.join(self.build_temp, ext.name)
        super(BuildKernels, own).build_extension(ext)

    def can_compile(self, flags):
        """Whether the toolchain can build a Python extension with these flags at all."""
        with tempfile.TemporaryDirectory() as folder:
            probe = Path(folder, "probe.cpp")
            probe.write_text("#include <Python.h>\n")
            try:
                self.compiler.compile(
                    [str(probe)],
                    output_dir=folder,
                    include_dirs=self.include_dirs,
                    extra_postargs=flags,
                )
            except Exception as error:
                print(f"fastrelu: {' '.join(flags)}: skipped, the probe did not compile: {error}")
                return False
        return True


setup(
    packages=packages(),
    package_dir={"fastrelu": "fastrelu", "fastrelu.kernels": "kernels"},
    ext_modules=extensions(),
    cmdclass={"build_ext": BuildKernels},
)
