"""Builds the compiled core. All else is in pyproject.toml.

``EDGESDK_SANITIZE=address,undefined`` builds with sanitizers, ``EDGESDK_COVERAGE=1`` for gcov.
"""

from __future__ import annotations

import os
import sysconfig
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

from Cython.Build import cythonize
from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext
from setuptools.command.build_py import build_py

ROOT = Path(__file__).parent
CSRC = Path("csrc")


def files(*patterns: str) -> list[str]:
    """The core's files that match, as setuptools wants them: relative, with forward slashes."""
    found = (p for pattern in patterns for p in (ROOT / CSRC).glob(pattern))
    return sorted(p.relative_to(ROOT).as_posix() for p in found)


# Contraction into fused multiply-adds would change bits from one processor to the next. Nobody
# reads errno or the flags of floating-point exceptions: leaving them alone changes no bits, and
# loops with choices in them become vectors.
COMPILE = [
    "-std=c11",
    "-O3",
    "-ffp-contract=off",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-fvisibility=hidden",
]
LINK = ["-pthread"]
if sysconfig.get_platform() in {"linux-armv6l", "linux-armv7l"}:
    # Compilers for ARMv6, Raspberry Pi OS's among them, call a library for atomics of 64 bits.
    LINK += ["-Wl,--as-needed", "-latomic"]

if sanitizers := os.environ.get("EDGESDK_SANITIZE"):
    flags = [f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"]
    COMPILE += [*flags, "-O1", "-g"]
    LINK += flags
if os.environ.get("EDGESDK_COVERAGE"):
    # Workers of a pool count in the same place.
    COMPILE += ["--coverage", "-fprofile-update=atomic", "-O0"]
    LINK += ["--coverage"]

native = Extension(
    "edgesdk._native",
    sources=["edgesdk/_native.pyx", *files("*.c", "*/*.c")],
    # Every header and list counts: a change in any of them rebuilds the extension.
    depends=["edgesdk/_native.pxd", *files("*.h", "*/*.h", "*.inc")],
    include_dirs=[CSRC.as_posix()],
    extra_compile_args=COMPILE,
    extra_link_args=LINK,
    define_macros=[("CYTHON_WITHOUT_ASSERTIONS", "1")],
)


class BuildInParallel(build_ext):
    """Compiles as many files at a time as there are processors."""

    def build_extensions(self) -> None:
        """Have the compiler take the files apart."""
        compile_some = self.compiler.compile

        def compile_all(sources: list[str], **options: Any) -> list[str]:  # noqa: ANN401 - its own
            with ThreadPoolExecutor(os.cpu_count()) as pool:
                made = pool.map(lambda source: compile_some([source], **options), sources)
                return list(chain.from_iterable(made))

        self.compiler.compile = compile_all
        super().build_extensions()


class BuildWithNetworks(build_py):
    """Puts the demonstration's networks, which lie under examples/, into the wheel."""

    def run(self) -> None:
        """Copy the modules, and then the networks."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib, "edgesdk", "demo", "models")
        self.mkpath(str(target))
        for network in (ROOT / "examples" / "digits").glob("*.tflite"):
            self.copy_file(str(network), str(target / network.name))


if not sysconfig.get_path("include"):
    raise SystemExit("expected the headers of Python, got none: install python3-dev")

setup(
    ext_modules=cythonize([native], build_dir="build/cython"),
    cmdclass={"build_ext": BuildInParallel, "build_py": BuildWithNetworks},
)
