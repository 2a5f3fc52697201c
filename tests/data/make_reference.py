#!/usr/bin/env python3
"""Writes the JSON files beside it: what the kernels, the regressions and the mixture are held against.

Every number comes from an independent route: closed forms with 40 digits (mpmath), derivatives by automatic differentiation in 64
bits (jax), stops by trying one iteration after the other. Nothing here calls the Rust code.

    python3 -m venv venv && venv/bin/pip install "jax[cpu]==0.4.30" "numpy<2" "scipy<1.13" mpmath
    venv/bin/python tests/data/make_reference.py

Matrices are lists of rows. N samples, D inputs, m neurons, d outputs.
"""

import argparse
import json
import math
import pathlib

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np

jax.config.update("jax_enable_x64", True)
mp.mp.dps = 40


def analytic_kernel(za, zb):
    """<z, z'> (pi - angle) / (2 pi): the tangent kernel of the first layer at infinite width."""
    def entry(a, b):
        a, b = [mp.mpf(float(x)) for x in a], [mp.mpf(float(x)) for x in b]
        inner = mp.fsum(x * y for x, y in zip(a, b))
        norms = mp.sqrt(mp.fsum(x * x for x in a)) * mp.sqrt(mp.fsum(x * x for x in b))
        if norms == 0:
            return 0.0
        cosine = max(mp.mpf(-1), min(mp.mpf(1), inner / norms))
        return float(inner * (mp.pi - mp.acos(cosine)) / (2 * mp.pi))
    return [[entry(a, b) for b in zb] for a in za]


def network(w, a, z):
    """Outputs (N x d) of the network with weights w (m x D) and signs a (m x d) on z (N x D)."""
    return jax.nn.relu(z @ w.T) @ a / jnp.sqrt(w.shape[0])


def ntk(rng):
    """The analytic kernel where it is hard: parallel, opposite, nearly so, zero, and large."""
    z = rng.standard_normal((9, 5))
    z[3] = 2.5 * z[2]
    z[4] = -0.5 * z[2]
    z[5] = z[2] + 1e-7 * rng.standard_normal(5)
    z[6] = -z[2] + 1e-7 * rng.standard_normal(5)
    z[7] = 0.0
    z[8] *= 1e6
    other = rng.standard_normal((4, 5))
    return dict(z=z.tolist(), gram=analytic_kernel(z, z), z_other=other.tolist(), cross=analytic_kernel(z, other))


def empirical_ntk(rng):
    """The tangent kernel of a finite network from its Jacobian."""
    n, inputs, m, d = 6, 4, 131, 3
    z, w = rng.standard_normal((n, inputs)), rng.standard_normal((m, inputs))
    a = rng.integers(0, 2, (m, d)) * 2.0 - 1.0
    jacobian = jax.jacobian(lambda weights: network(weights, a, z))(jnp.asarray(w))
    h = jnp.einsum("jirD,lkrD->ijkl", jacobian, jacobian)
    return dict(z=z.tolist(), w=w.tolist(), a=a.tolist(), m=m, d=d, h=np.asarray(h).reshape(d * n, d * n).tolist(),
                note="h is (d*n, d*n); row i*n + j is output i at sample j")


def gradient_descent(rng):
    """Six steps on the squared loss, with losses, outputs and flipped activations."""
    n, inputs, m, d, eta, steps = 8, 4, 67, 3, 0.05, 6
    z, start = rng.standard_normal((n, inputs)), rng.standard_normal((m, inputs))
    a = rng.integers(0, 2, (m, d)) * 2.0 - 1.0
    y = rng.uniform(-1, 1, (n, d))
    loss = lambda w: 0.5 * jnp.sum((network(w, a, z) - y) ** 2)
    active = np.asarray(z @ start.T >= 0)
    w, losses, flips, outputs = jnp.asarray(start), [], [], []
    for _ in range(steps + 1):
        losses.append(float(loss(w)))
        outputs.append(np.asarray(network(w, a, z)).tolist())
        flips.append(int((np.asarray(z @ np.asarray(w).T >= 0) != active).sum()))
        last = w
        w = w - eta * jax.grad(loss)(w)
    return dict(z=z.tolist(), w0=start.tolist(), a=a.tolist(), y=y.tolist(), eta=eta, steps=steps, loss=losses,
                outputs=outputs, flips_since_start=flips, w_last=np.asarray(last).tolist())


def kernel_regression(rng):
    """A thousand steps of gradient descent on the analytic kernel."""
    n, inputs, d, eta = 12, 4, 2, 0.02
    z, test, y = rng.standard_normal((n, inputs)), rng.standard_normal((5, inputs)), rng.standard_normal((n, d))
    k, cross = np.array(analytic_kernel(z, z)), np.array(analytic_kernel(test, z))
    gamma, at = np.zeros((n, d)), {}
    for iteration in range(1001):
        if iteration in (0, 1, 7, 100, 1000):
            at[str(iteration)] = dict(train=(k @ gamma).tolist(), test=(cross @ gamma).tolist())
        gamma = gamma - eta * (k @ gamma - y)
    return dict(z=z.tolist(), z_test=test.tolist(), y=y.tolist(), eta=eta, at=at)


def complexity(values, n, radius):
    """The local empirical Rademacher complexity of a kernel with these eigenvalues (RWY, eq. 6)."""
    return math.sqrt(sum(min(value, radius * radius) for value in values) / n)


def early_stopping(rng):
    """The stop of the rule by trying every iteration, and the critical radius by bisection."""
    cases = []
    for n, decay, sigma, eta in ((64, "poly", 0.5, 0.25), (256, "poly", 0.1, 1.0), (128, "exp", 1.0, 0.1)):
        i = np.arange(1, n + 1)
        values = (i ** -2.0 if decay == "poly" else np.exp(-0.3 * i)) * rng.uniform(0.5, 1.0)
        for constant in (2 * math.e, 1.0):
            iteration = 1
            while complexity(values, n, 1 / math.sqrt(eta * iteration)) <= 1 / (constant * sigma * eta * iteration):
                iteration += 1
            low, high = 1e-12, 1e6
            for _ in range(400):
                middle = math.sqrt(low * high)
                if complexity(values, n, middle) <= middle * middle / (constant * sigma):
                    high = middle
                else:
                    low = middle
            cases.append(dict(n=n, eigenvalues_of_k_over_n=values.tolist(), sigma=sigma, step=eta, constant=constant,
                              stop=iteration - 1, critical_radius=high))
    return dict(cases=cases, note="kernel GD on the loss 1/(2n) sum (f - y)^2 with constant step; stop is T_hat")


def gaussian_mixture(rng):
    """Score, posterior mean and density of a mixture under the forward process, by automatic differentiation."""
    d, parts = 3, 4
    weights, means = rng.dirichlet(np.ones(parts)), rng.uniform(-2, 2, (parts, d))
    std = rng.uniform(0.1, 0.6, parts)
    points = []
    for t in (0.01, 0.3, 1.0, 3.0):
        alpha = math.exp(-t / 2)
        h = 1 - alpha * alpha

        def log_density(x):
            v = alpha**2 * std**2 + h
            q = ((x[None] - alpha * means) ** 2).sum(1)
            return jax.scipy.special.logsumexp(jnp.log(weights) - 0.5 * q / v - 0.5 * d * jnp.log(2 * jnp.pi * v))

        for x in rng.uniform(-3, 3, (3, d)):
            score = np.asarray(jax.grad(log_density)(jnp.asarray(x)))
            points.append(dict(t=t, x=x.tolist(), score=score.tolist(), posterior_mean=((x + h * score) / alpha).tolist(),
                               log_density=float(log_density(jnp.asarray(x)))))
    return dict(weights=weights.tolist(), means=means.tolist(), std=std.tolist(), g="constant 1", points=points)


# The place in this list is part of the seed.
FILES = (ntk, empirical_ntk, gradient_descent, kernel_regression, early_stopping, gaussian_mixture)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent)
    arguments = parser.parse_args()
    for place, make in enumerate(FILES):
        path = arguments.out / f"{make.__name__}.json"
        path.write_text(json.dumps(make(np.random.default_rng([arguments.seed, place]))))
        print(path)


if __name__ == "__main__":
    main()
