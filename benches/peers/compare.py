#!/usr/bin/env python3
"""Sets this crate's kernels beside PyTorch, JAX and neural-tangents: same machine, same hour, equal threads.

    cargo build --release --bin ntk-profile
    python3 benches/peers/compare.py --torch TORCH_PYTHON --jax JAX_PYTHON [--threads 1]

where TORCH_PYTHON and JAX_PYTHON are interpreters that have what peers.py needs (the two want different versions of NumPy, so
they live in environments of their own; either may be left out). Our kernels run right after a peer's; each line shows both
errors. Prints a table in Markdown.
"""
import argparse
import json
import pathlib
import subprocess
import sys

here = pathlib.Path(__file__).resolve().parent
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--torch", metavar="PYTHON", help="an interpreter with torch")
parser.add_argument("--jax", metavar="PYTHON", help="an interpreter with jax and neural-tangents")
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--seconds", type=float, default=5.0, help="time spent on repeats of each form")
parser.add_argument("--profile", default=str(here.parents[1] / "target/release/ntk-profile"), help="the profiling binary")
args = parser.parse_args()
if not (args.torch or args.jax):
    parser.error("give --torch, --jax or both")


def ours(kernel, form):
    """Our time and error for what a peer's line describes."""
    command = [args.profile, kernel, "--json", "--threads", str(args.threads), "--seconds", "2"]
    command += ["--precision", "f64" if form.startswith("f64") else "f32"]
    if kernel == "tangent":
        command += ["--samples", form.split("n = ")[1] if "n = " in form else "4096"]
        command += ["--part", "block" if "(0, 1)" in form else "same"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return found["wall_ms"], found["max_error"]


print(f"{args.threads} thread(s), best of repeats\n")
print("| kernel | peer | peer, ms | error | this crate, ms | error | ratio |\n|---|---|---|---|---|---|---|")
for library, python in (("torch", args.torch), ("jax", args.jax)):
    if not python:
        continue
    command = [python, str(here / "peers.py"), library, "--threads", str(args.threads), "--seconds", str(args.seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as peer:
        lines = [json.loads(line) for line in peer.stdout]
        problem = peer.stderr.read()
    if peer.returncode:
        sys.exit(f"{' '.join(command)} failed: {problem.strip().splitlines()[-1]}")
    for line in lines:
        ms, error = ours(line["kernel"], line["form"])
        names = f"| {line['kernel']} | {line['library']}, {line['form']}"
        print(f"{names} | {line['ms']:.1f} | {line['error']:.1e} | {ms:.2f} | {error:.1e} | {line['ms'] / ms:.1f} |", flush=True)
