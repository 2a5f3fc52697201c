#!/usr/bin/env python3
"""The hot kernels in PyTorch, or in JAX and neural-tangents, as a practitioner would write them: best time and error of each.

    python peers.py torch [--threads 1] [--samples 8192] ...        needs torch
    python peers.py jax   [--threads 1] [--samples 8192] ...        needs jax, neural-tangents

Prints one JSON object a line: kernel, form, library, threads, ms (the best of the repeats), error (against double precision in
NumPy on a few rows, relative to the largest entry). Which versions were used is in the library's name. The shapes are those of
`ntk-profile`; compare.py sets the two side by side.
"""
import argparse
import json
import math
import os
import time

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("library", choices=["torch", "jax"])
parser.add_argument("--threads", type=int, default=1)
parser.add_argument("--samples", type=int, default=8192, help="N")
parser.add_argument("--features", type=int, default=25, help="D")
parser.add_argument("--neurons", type=int, default=4096, help="m")
parser.add_argument("--outputs", type=int, default=24, help="d")
parser.add_argument("--tangent-samples", type=int, default=4096, help="n of the finite-width block")
parser.add_argument("--empirical-samples", type=int, default=1024, help="n of neural-tangents' empirical kernel")
parser.add_argument("--seconds", type=float, default=5.0, help="time spent on repeats of each form")
args = parser.parse_args()
if hasattr(os, "sched_setaffinity"):
    # JAX takes as many threads as it may run on; this must happen before it is loaded.
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: args.threads])

import numpy as np  # noqa: E402

N, D, m, d = args.samples, args.features, args.neurons, args.outputs
draw = np.random.default_rng(0)
Z, Y = draw.standard_normal((N, D)), draw.random((N, d))
W, A = draw.standard_normal((m, D)), np.sign(draw.standard_normal((m, d)))
ROWS = np.linspace(0, min(N, m, args.tangent_samples, args.empirical_samples) - 1, 24).astype(int)
RATE = 1.0


def best(run):
    """Milliseconds of the fastest repeat, after a first one that may compile."""
    run()
    times, started = [], time.perf_counter()
    while len(times) < 3 or time.perf_counter() - started < args.seconds:
        begun = time.perf_counter()
        run()
        times.append(time.perf_counter() - begun)
    return 1e3 * min(times)


def report(kernel, form, library, run, answer, expected):
    """Times `run`; `answer` turns what it returns into what is compared with `expected`."""
    found = np.asarray(answer(run()), dtype=np.float64)
    error = float(np.abs(found - expected).max() / np.abs(expected).max())
    line = dict(kernel=kernel, form=form, library=library, threads=args.threads, ms=best(run), error=error)
    print(json.dumps(line), flush=True)


def exact_gram(z):
    """Rows of the analytic kernel in double precision, near-parallel pairs included."""
    norms = np.linalg.norm(z, axis=1)
    unit = z / norms[:, None]
    between = lambda sign: np.linalg.norm(unit[ROWS, None] + sign * unit[None], axis=2)
    share = np.arctan2(between(1.0), between(-1.0)) / math.pi
    return (z[ROWS] @ z.T) * share


def exact_block(z, i, k):
    """Rows of block (i, k) of the finite-width kernel in double precision."""
    active = (z @ W.T >= 0).astype(float)
    return ((active[ROWS] * (A[:, i] * A[:, k])) @ active.T) * (z[ROWS] @ z.T) / m


def exact_step():
    """What one step of gradient descent adds to a few neurons' weights, in double precision."""
    p = Z @ W.T
    errors = np.maximum(p, 0) @ A / math.sqrt(m) - Y
    return -RATE / math.sqrt(m) * ((errors @ A[ROWS].T) * (p[:, ROWS] >= 0)).T @ Z


def with_torch():
    import torch

    torch.set_num_threads(args.threads)
    torch.set_grad_enabled(False)
    name = f"torch {torch.__version__.split('+')[0]}"
    single = [torch.tensor(x, dtype=torch.float32) for x in (Z, Y, W, A)]
    z, y, w, a = single

    def gram(x):
        norms = x.norm(dim=1)
        inner = x @ x.T
        cosine = (inner / (norms[:, None] * norms[None, :])).clamp(-1, 1)
        return inner * (math.pi - torch.arccos(cosine)) / (2 * math.pi)

    def step(w):
        p = z @ w.T
        active = p >= 0
        errors = (p.relu() @ a) / math.sqrt(m) - y
        back = (errors @ a.T) * active
        return w - (RATE / math.sqrt(m)) * (back.T @ z)

    def block(active, x, signs):
        return ((active * signs) @ active.T) * (x @ x.T) / m

    rows = lambda x: x[ROWS].double().numpy()
    moved = lambda x: (x[ROWS] - w[ROWS]).double().numpy()
    for kind in ("eager", "compiled"):
        wrap = torch.compile if kind == "compiled" else lambda f: f
        grams, steps = wrap(gram), wrap(step)
        report("descent", f"f32 {kind}", name, lambda: steps(w), moved, exact_step())
        report("gram", f"f32 {kind}", name, lambda: grams(z), rows, exact_gram(Z))
    wide = torch.tensor(Z)
    report("gram", "f64 eager", name, lambda: gram(wide), rows, exact_gram(Z))
    n = args.tangent_samples
    x = z[:n]
    active = (x @ w.T >= 0).float()
    for i, k in ((0, 0), (0, 1)):
        if k < d:
            signs = a[:, i] * a[:, k]
            form = f"f32 two products, block ({i}, {k})"
            report("tangent", form, name, lambda: block(active, x, signs), rows, exact_block(Z[:n], i, k))


def with_jax():
    import jax
    import jax.numpy as jnp
    import neural_tangents as nt
    from neural_tangents import stax

    name, tangents = f"jax {jax.__version__}", f"neural-tangents {nt.__version__}"
    z, y, w, a = (jnp.asarray(x, dtype=jnp.float32) for x in (Z, Y, W, A))

    def loss(w):
        return 0.5 * jnp.sum((jax.nn.relu(z @ w.T) @ a / math.sqrt(m) - y) ** 2)

    def gram(x):
        norms = jnp.linalg.norm(x, axis=1)
        inner = x @ x.T
        cosine = jnp.clip(inner / (norms[:, None] * norms[None]), -1, 1)
        return inner * (math.pi - jnp.arccos(cosine)) / (2 * math.pi)

    rows = lambda x: np.asarray(x[ROWS], dtype=np.float64)
    moved = lambda x: rows(x) - np.asarray(w[ROWS], dtype=np.float64)
    step, grams = jax.jit(lambda w: w - RATE * jax.grad(loss)(w)), jax.jit(gram)
    report("descent", "f32 jit", name, lambda: jax.block_until_ready(step(w)), moved, exact_step())
    report("gram", "f32 jit", name, lambda: jax.block_until_ready(grams(z)), rows, exact_gram(Z))

    # neural-tangents' kernel is of both layers: the second layer's part, the arc-cosine kernel of order 1, is added here.
    first = stax.Dense(m, b_std=None)
    init, apply, kernel = stax.serial(first, stax.Relu(), stax.Dense(1, b_std=None))
    analytic = jax.jit(lambda x: kernel(x, None, "ntk"))
    norms = np.linalg.norm(Z, axis=1)
    cosine = np.clip((Z[ROWS] @ Z.T) / (norms[ROWS, None] * norms[None]), -1, 1)
    second = norms[ROWS, None] * norms[None] * (np.sqrt(1 - cosine**2) + cosine * (math.pi - np.arccos(cosine))) / (2 * math.pi)
    both = (exact_gram(Z) + second) / D
    report("gram", "f32 both layers", tangents, lambda: jax.block_until_ready(analytic(z)), rows, both)

    n = args.empirical_samples
    _, parameters = init(jax.random.PRNGKey(0), (n, D))
    signs = np.ones(m)
    weights = np.asarray(parameters[0][0] if isinstance(parameters[0], tuple) else parameters[0], dtype=np.float64)
    output = np.asarray(parameters[2][0] if isinstance(parameters[2], tuple) else parameters[2], dtype=np.float64)
    x, pre = Z[:n], Z[:n] @ weights / math.sqrt(D)
    active = pre >= 0
    scaled = signs * output[:, 0] ** 2
    expected = ((active[ROWS] * scaled) @ active.T) * (x[ROWS] @ x.T) / (m * D)
    expected += np.maximum(pre[ROWS], 0) @ np.maximum(pre, 0).T / m
    empirical = jax.jit(nt.empirical_ntk_fn(apply, trace_axes=(), vmap_axes=0))
    answer = lambda k: rows(jnp.reshape(k, (n, n)))
    run = lambda: jax.block_until_ready(empirical(z[:n], None, parameters))
    report("tangent", f"f32 empirical, n = {n}", tangents, run, answer, expected)


with_torch() if args.library == "torch" else with_jax()
