"""One call for whoever has a GPU: `python benchmarks/gpu.py`, then send `gpu.json` back.

It takes 8 minutes at most, whatever happens, needs no network and nothing installed but what the
package depends on: a plain checkout will do. What is worth most comes first: the card; whether
pictures, gradients and embeddings are those of a CPU in every precision; the tests marked `gpu`,
where pytest is; images a second against what the card's own matrix products and copies reach;
CLIP; an atlas of FFHQ-1024, projected; a live edit with and without CUDA graphs; optimisation;
memory; where the time goes; layouts; compilation. Weights are random, in the shapes of the
published models. The parts are functions of `gpu_checks.py` and `gpu_speed.py`.

The file is written anew after every row, so that nothing is lost if the machine is. Parts run in a
process of their own: one that crashes, or takes longer than its seconds, is cut off and noted, and
the next one begins in a new process.

`--device cpu --quick` goes the whole way on a CPU, with small models; that is what was tested.
"""

from __future__ import annotations

import argparse
import atexit
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

from gpu_processes import end_when_told, ending

ROOT = Path(__file__).resolve().parents[1]
LINK = "STYLEATLAS_GPU_LINK"
SECONDS = 480.0
START = 60.0  # in which a process begins with its first part, or with the next
GRACE = 5.0  # beyond a part's seconds, which it is to keep by itself
LEAVE = 1.0  # in which a process that is cut off ends what it started
TOLD = "gpu.py: "  # what a line of the other process begins with

LOOK = """
import sys, torch
try:
    torch.ones(1, device=sys.argv[1]).cpu()
except Exception as error:
    sys.exit(str(error).splitlines()[0])
"""

Record = dict[str, Any]

PARTS = {
    "card": 10,
    "peaks": 15,
    "goldens": 25,
    "agreement": 45,
    "captured": 10,
    "tests": 75,
    "speed": 80,
    "clip": 30,
    "atlas": 50,
    "live": 20,
    "optimise": 20,
    "memory": 10,
    "profile": 15,
    "layouts": 15,
    "compiled": 40,
}
"""In their order, with the seconds that each may take."""


def find_package() -> Path:
    """Makes `import styleatlas` find this checkout, whatever it is called and whatever else is
    installed; the folder that is to be searched."""
    if LINK in os.environ:  # of the process that started this one
        folder = Path(os.environ[LINK])
    else:
        folder = Path(tempfile.mkdtemp(prefix="styleatlas-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        try:
            (folder / "styleatlas").symlink_to(ROOT, target_is_directory=True)
        except OSError as error:
            raise SystemExit(
                f"{folder}: no link to {ROOT} can be made there ({error.strerror}); run it where "
                "links can be made, on Windows in developer mode"
            ) from error
        os.environ[LINK] = str(folder)
        others = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), *([others] if others else [])])
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
    return folder


def require_device(name: str) -> None:
    """Ends this here unless PyTorch can use the device, which every part would say anew. Another
    process looks, so that none of its memory is taken."""
    command = [sys.executable, "-c", LOOK, name]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=START)
        if done.returncode == 0:
            return
        problem = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[-1]
    except subprocess.TimeoutExpired:
        problem = f"no answer within {START:.0f} s"
    raise SystemExit(
        f"--device {name}: PyTorch cannot use it ({problem}); see what nvidia-smi shows, install a "
        "PyTorch built for CUDA, or name another device"
    )


class Answer:
    """What is sent back, written anew with every row."""

    def __init__(self, path: Path, asked: Record) -> None:
        self._path = path
        self._record: Record = {"format": 1, **asked, "seconds": 0.0, "parts": []}
        self._begun = time.monotonic()

    @property
    def parts(self) -> list[Record]:
        """Those that have begun."""
        parts: list[Record] = self._record["parts"]
        return parts

    def begin(self, name: str) -> None:
        self.parts.append({"part": name, "seconds": None, "rows": []})
        self._write()

    def row(self, row: Record) -> None:
        self.parts[-1]["rows"].append(row)
        self._write()

    def end(self, seconds: float, problem: str | None = None) -> None:
        self.parts[-1]["seconds"] = round(seconds, 1)
        if problem is not None:
            self.parts[-1]["problem"] = problem
        self._write()

    def left_out(self, names: list[str]) -> None:
        """Parts that there was no time for."""
        self._record["left_out"] = names
        self._write()

    def _write(self) -> None:
        self._record["seconds"] = round(time.monotonic() - self._begun, 1)
        beside = self._path.with_name(f".{self._path.name}")
        beside.write_text(json.dumps(self._record, indent=1))
        os.replace(beside, self._path)


def watch(names: list[str], device: str, quick: bool, answer: Answer, until: float) -> None:
    """Runs the parts in other processes, one after the other, up to a moment."""
    left = list(names)
    while left and time.monotonic() < until:
        command = [sys.executable, __file__, "--device", device, "--parts", ",".join(left)]
        command += ["--quick"] if quick else []
        with ending(command, LEAVE, stdout=subprocess.PIPE) as child:
            lines: queue.Queue[str | None] = queue.Queue()
            threading.Thread(target=_pass_on, args=(child, lines), daemon=True).start()
            done = _follow(lines, left[0], answer, until)
        left = left[done:]
    if left:
        answer.left_out(left)


def _pass_on(child: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    assert child.stdout is not None
    for line in child.stdout:
        if line.startswith(TOLD):
            lines.put(line.removeprefix(TOLD))
    lines.put(None)


def _follow(lines: queue.Queue[str | None], expected: str, answer: Answer, until: float) -> int:
    """How many parts ended, well or not, before the process was no more of use; one at least."""
    done, begun, allowed, name = 0, time.monotonic(), START, None
    while True:
        try:
            told = lines.get(timeout=max(0.0, min(begun + allowed, until) - time.monotonic()))
            problem = "the process ended"
        except queue.Empty:
            told, problem = None, "cut off: it took too long"
        if told is None:
            if name is None and done:
                return done
            if name is None:
                answer.begin(expected)
            answer.end(time.monotonic() - begun, problem)
            print(f"{name or expected}: {problem}", file=sys.stderr)
            return done + 1
        record = json.loads(told)
        if "begin" in record:
            name, begun = record["begin"], time.monotonic()
            allowed = PARTS[name] + GRACE
            answer.begin(name)
        elif "row" in record:
            answer.row(record["row"])
        else:
            seconds = time.monotonic() - begun
            answer.end(seconds, record.get("problem"))
            print(f"{name}: {seconds:.1f} s, {record.get('problem', 'done')}", file=sys.stderr)
            done, name, begun, allowed = done + 1, None, time.monotonic(), START


def work(names: list[str], device: str, quick: bool) -> None:
    """The parts in this process, each row told in a line."""
    import gpu_checks
    import gpu_place
    import gpu_speed

    end_when_told()

    def tell(**record: Any) -> None:
        print(TOLD + json.dumps(record), flush=True)

    for name in names:
        tell(begin=name)
        try:
            place = gpu_place.Place.of(device, quick, PARTS[name])
            home = gpu_checks if hasattr(gpu_checks, name) else gpu_speed
            for row in getattr(home, name)(place):
                tell(row=row)
            tell(end=name)
        except Exception as error:  # the other parts are worth as much
            told = f"{type(error).__name__}: {error}".splitlines()[0][:500]
            tell(end=name, problem=told)
            gpu_place.clean_up()


def shown(answer: Answer) -> str:
    """A line a row, for a look."""
    lines = []
    for part in answer.parts:
        lines.append(f"\n{part['part']} ({part['seconds']} s){': ' * ('problem' in part)}")
        lines[-1] += part.get("problem", "")
        for row in part["rows"]:
            told = (f"{key} {value}" for key, value in row.items() if not isinstance(value, list))
            lines.append("  " + ", ".join(told))
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1 or cpu")
    parser.add_argument("--quick", action="store_true", help="small models: to test the script")
    parser.add_argument("--only", action="append", choices=list(PARTS), help="of the parts")
    parser.add_argument("-o", dest="output", type=Path, default=Path("gpu.json"))
    parser.add_argument("--seconds", type=float, default=SECONDS, help=argparse.SUPPRESS)
    parser.add_argument("--parts", help=argparse.SUPPRESS)  # what another process is to do
    asked = parser.parse_args()
    begun = time.monotonic()
    os.environ["HF_HUB_OFFLINE"] = "1"
    find_package()
    if asked.parts is not None:
        work(asked.parts.split(","), asked.device, asked.quick)
        return
    if asked.device != "cpu":
        require_device(asked.device)
    names = [name for name in PARTS if asked.only is None or name in asked.only]
    answer = Answer(asked.output, {"device": asked.device, "quick": asked.quick})
    watch(names, asked.device, asked.quick, answer, begun + min(asked.seconds, SECONDS) - LEAVE)
    print(shown(answer))
    print(f"\n{asked.output}: is what to send back", file=sys.stderr)


if __name__ == "__main__":
    main()
