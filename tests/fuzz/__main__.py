"""Coverage-guided fuzzing of what reads strangers' bytes: `make fuzz`, or `python tests/fuzz [TARGET...]`.

    make fuzz                       every target of zlayer.testing.fuzz_targets, 600 seconds each, one after the other
    make fuzz FUZZ=tar SECONDS=60   one of them, for a minute

Needs root: layers hold owners and devices. What a run finds new is added to the corpus beside this file, which the
suite replays. An input that is a finding is left in `.fuzz/`, and the exit code is 1.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ROOM = HERE.parents[1] / ".fuzz"
NAMES = ("tar", "archive", "manifest", "reference")
LONGEST = {"tar": 16384, "archive": 16384, "manifest": 8192, "reference": 512}
_SLOW, _MEMORY = 20, 1024
"""Seconds and MiB one input may take before it is a finding."""


def main() -> int:
    parser = argparse.ArgumentParser("fuzz", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(NAMES)}; none: all")
    parser.add_argument("-s", "--seconds", type=int, default=600, help="for each target (600)")
    parser.add_argument("--within", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    names = given.targets or NAMES
    if strange := set(names) - set(NAMES):
        parser.error(f"no target {', '.join(sorted(strange))}: there are {', '.join(NAMES)}")
    _install()
    if given.within:
        _fuzz(names[0], given.seconds, given.within)
    failed = [name for name in names if not _run(name, given.seconds)]
    print(f"fuzz: findings in {', '.join(failed)}" if failed else "fuzz: no findings")
    return 1 if failed else 0


def _install() -> None:
    """The fuzzer goes beside the environment, not into it: nothing else needs it."""
    place = ROOM / f"atheris-{sys.version_info.major}.{sys.version_info.minor}"
    if not place.exists():
        half = place.with_suffix(".half")
        shutil.rmtree(half, ignore_errors=True)
        argv = [sys.executable, "-m", "pip", "install", "-qq", "--disable-pip-version-check", "--require-hashes"]
        subprocess.run([*argv, "--no-deps", "--target", half, "-r", HERE / "requirements.txt"], check=True)
        half.rename(place)
    sys.path.append(str(place))


def _run(name: str, seconds: int) -> bool:
    """One target in a process of its own, then its corpus made small again. Whether nothing was found."""
    from zlayer.testing import fuzz_seeds
    from zlayer.testing.fuzz_targets import targets

    work = ROOM / name
    work.mkdir(parents=True, exist_ok=True)
    kept = HERE / "corpus" / f"{name}.zip"
    for number, data in enumerate((*fuzz_seeds.load(kept), *fuzz_seeds.seeds(name))):
        if len(data) <= LONGEST[name]:
            (work / f"seed-{number:04}").write_bytes(data)
    began = time.monotonic()
    with _scratch() as scratch:
        argv = [sys.executable, str(HERE), name, "-s", str(seconds), "--within", str(scratch)]
        if subprocess.run(argv, check=False).returncode != 0:
            return False
    inputs = [file.read_bytes() for file in sorted(work.iterdir())]
    with _scratch() as scratch:
        small = fuzz_seeds.minimised(inputs, targets(scratch)[name])
    fuzz_seeds.save(kept, small)
    took = time.monotonic() - began
    print(f"fuzz: {name}: {took:.0f} s, {len(inputs)} inputs, {len(small)} kept in {kept.stat().st_size} bytes")
    return True


@contextmanager
def _scratch() -> Iterator[Path]:
    """In memory; a fuzzer that is killed may leave trees in it that only ours removes."""
    from zlayer.image.trees import remove_tree

    place = Path(tempfile.mkdtemp(prefix="zl", dir="/dev/shm"))
    try:
        yield place
    finally:
        remove_tree(place)


def _fuzz(name: str, seconds: int, scratch: Path) -> None:
    """Never returns: libFuzzer ends the process."""
    atheris: Any = importlib.import_module("atheris")  # Any: installed beside the environment, without types
    with atheris.instrument_imports(include=["zlayer.image", "zlayer.model.errors"]):
        from zlayer.testing import fuzz_seeds, fuzz_tars
        from zlayer.testing.fuzz_targets import targets
    words = ROOM / "words"
    words.write_text("\n".join('"' + "".join(f"\\x{b:02x}" for b in word) + '"' for word in fuzz_seeds.WORDS) + "\n")
    spare = [data for data in fuzz_seeds.seeds(name) if len(data) <= LONGEST[name]]

    def change(data: bytes, longest: int, seed: int) -> bytes:
        return fuzz_tars.changed(data, longest, seed, atheris.Mutate, spare)

    argv = [str(HERE), str(ROOM / name), f"-max_total_time={seconds}", f"-max_len={LONGEST[name]}", f"-dict={words}"]
    argv += [
        f"-timeout={_SLOW}",
        f"-rss_limit_mb={_MEMORY}",
        f"-artifact_prefix={ROOM}/{name}-",
        "-print_final_stats=1",
    ]
    target = targets(scratch)[name]
    atheris.Setup(argv, target, **({"custom_mutator": change} if name in ("tar", "archive") else {}))
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
