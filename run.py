"""Sets the project up in `.venv` beside this file, from lock files with hashes, and runs it.

    python3 run.py demo [options]       the demo; --keep leaves it serving; --help tells the rest
    python3 run.py test [pytest args]   all tests but the slow ones; by default in up to four processes

The first run installs; later ones start at once, until a lock file, pyproject.toml or the Python changes. Needs Python
3.11 or newer with venv, and a package index that pip can reach; nothing else, and nothing outside this folder changes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import IO, NoReturn

OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parent
VENV = ROOT / ".venv"
PYTHON = VENV / "bin" / "python"
STAMP = VENV / "installed.txt"  # which kinds of set-up are complete, and what each was made from
LOCKS = {"run": "requirements.lock", "test": "requirements-dev.lock"}
BUILD_LOCK = "requirements-build.lock"
# A module stays in one process, for what its tests share; in the order of the folders, which begins with the longest.
PYTEST = ["-m", "pytest", "--dist", "loadscope", "--no-loadscope-reorder"]


def main(arguments: list[str]) -> NoReturn:
    """Exit code: the child's; 1 when the set-up fails; 2 for a wrong command."""
    command = arguments[0] if arguments else ""
    if command in {"-h", "--help"}:
        print(__doc__)
        sys.exit(0)
    if command not in {"demo", "test"}:
        problem = f"unknown command {command!r}" if command else "what shall I run?"
        fail(f"{problem}\n    hint: python3 run.py demo, or python3 run.py test", code=2)
    set_up("test" if command == "test" else "run")
    sys.stdout.flush()
    if command == "test":
        os.chdir(ROOT)
        processes = min((os.cpu_count() or 1) + 1, 4)  # one more than processors: many tests wait for others
        child = [*PYTEST, "-n", str(processes), *arguments[1:]]
    else:
        child = ["-m", "syncbroker.cli.main", *arguments]
    os.execve(PYTHON, [str(PYTHON), *child], environment())  # signals and the exit code are the child's own


def environment() -> dict[str, str]:
    """Ours, with compiled modules kept in `.venv`: else each of the many processes may compile all of them anew."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(VENV / "compiled")}


def set_up(kind: str) -> None:
    """Make `.venv` hold what `kind` needs; the test set-up holds all that the run set-up does."""
    if sys.version_info < OLDEST:
        wanted, found = (".".join(map(str, version[:2])) for version in (OLDEST, sys.version_info))
        fail(f"Python {wanted} or newer is needed; this is {found} ({sys.executable})")
    with (ROOT / ".venv.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two first runs at once
        done = set(STAMP.read_text().splitlines()) if PYTHON.exists() and STAMP.exists() else set()
        if done & {stamp(kind), stamp("test")}:
            return
        if stamp("venv") not in done:
            make_venv()
        STAMP.write_text(stamp("venv") + "\n")  # until pip is done, nothing is complete
        install(kind)
        STAMP.write_text(f"{stamp('venv')}\n{stamp(kind)}\n")


def stamp(kind: str) -> str:
    """`kind` and a digest of all that a complete set-up of it depends on."""
    digest = hashlib.sha256(f"{sys.version} {sys.base_prefix} {ROOT}".encode())
    if kind in LOCKS:
        for name in (LOCKS[kind], BUILD_LOCK, "pyproject.toml"):
            digest.update((ROOT / name).read_bytes())
    return f"{kind} {digest.hexdigest()}"


def make_venv() -> None:
    """An empty `.venv`, whatever was there before."""
    say(f"making {VENV}")
    try:
        import ensurepip  # noqa: F401, PLC0415  # some systems ship Python without it
        import venv  # noqa: PLC0415

        venv.create(VENV, clear=True, symlinks=True, with_pip=True)
    except ImportError as error:
        fail(f"this Python has no {error.name}\n    hint: on Debian and Ubuntu, apt install python3-venv")
    except (OSError, subprocess.CalledProcessError) as error:
        fail(f"cannot make {VENV}: {error}")


def install(kind: str) -> None:
    """The locked packages, then the project itself, editable; nothing is built but the project, nothing unhashed."""
    locks = [LOCKS[kind], BUILD_LOCK]
    total = sum(line[:1].isalnum() for name in locks for line in (ROOT / name).read_text().splitlines())
    say(f"installing about {total} packages from {' and '.join(locks)}; this happens once")
    files = [word for name in locks for word in ("-r", str(ROOT / name))]
    pip("--require-hashes", "--only-binary", ":all:", *files, total=total)
    pip("--no-deps", "--no-build-isolation", "--editable", str(ROOT))
    say("installed")


def pip(*arguments: str, total: int = 0) -> None:
    """`pip install`, with a count of packages on a terminal; on failure its last words, and the end of this program."""
    options = ["--disable-pip-version-check", "--no-input", "--no-compile", "--progress-bar", "off"]
    child = subprocess.Popen(
        [str(PYTHON), "-m", "pip", "install", *options, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
    )
    assert child.stdout is not None
    lines = follow(child.stdout, total)
    if child.wait() != 0:
        first = next((n for n, line in enumerate(lines) if line.startswith("ERROR")), max(len(lines) - 8, 0))
        words = "\n    ".join(line.strip() for line in lines[first:] if line)
        fail(f"pip could not install the packages:\n    {words}\n    hint: mend that and run this again")


def follow(lines: IO[str], total: int) -> list[str]:
    """All that pip said; meanwhile, on a terminal, the number of packages fetched."""
    said: list[str] = []
    seen, live, wipe = 0, sys.stderr.isatty(), "\r\033[K"
    for line in map(str.rstrip, lines):
        said.append(line)
        if total and live and line.startswith(("Collecting ", "Requirement already satisfied: ")):
            seen += 1
            word = line.removeprefix("Requirement already satisfied: ").removeprefix("Collecting ").split()[0]
            say(f"{min(seen, total)}/{total} {word}", start=wipe, end="")
        elif total and line.startswith("Installing collected"):
            say("all fetched; unpacking", start=wipe if live else "")
    return said


def say(text: str, *, start: str = "", end: str = "\n") -> None:
    """A word of progress; on standard error, so that a command's output stays its own."""
    print(f"{start}syncbroker: {text}", end=end, file=sys.stderr, flush=True)


def fail(text: str, *, code: int = 1) -> NoReturn:
    """End with one clear message."""
    print(f"syncbroker: {text}", file=sys.stderr)
    sys.exit(code)


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        fail(str(error))
