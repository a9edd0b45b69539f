"""A mixture of normals fitted to handwritten digits by EM, in log space, beside SciPy's functions.

The images are reduced to a few principal components; the responsibilities of the components are the
`log_softmax` of their log densities, the likelihood is their `logsumexp`.

    python examples/mixture_em.py --components 10 --iterations 40
"""

import argparse
import time

import numpy as np
from digits import load
from scipy import special

import fastrelu as fr


def reduced(x, dimensions):
    """The principal components of the rows."""
    x = x.astype(np.float64) - x.mean(axis=0)
    return x @ np.linalg.svd(x, full_matrices=False)[2][:dimensions].T


def log_joint(x, log_weights, means, variances):
    """log(weight * density) of each row and component."""
    inverse = 1 / variances
    distance = (x * x) @ inverse.T - 2 * x @ (means * inverse).T + (means**2 * inverse).sum(axis=1)
    return log_weights - 0.5 * (distance + np.log(2 * np.pi * variances).sum(axis=1))


def fit(library, x, components, iterations, seed=0):
    """The responsibilities, and the mean log likelihood before each iteration."""
    rng = np.random.default_rng(seed)
    means = x[rng.choice(len(x), components, replace=False)]
    variances = np.tile(x.var(axis=0), (components, 1))
    log_weights, likelihoods = np.full(components, -np.log(components)), []
    for _ in range(iterations):
        joint = log_joint(x, log_weights, means, variances)
        likelihoods.append(library.logsumexp(joint, axis=1).mean())
        shares = np.exp(library.log_softmax(joint, axis=1))
        totals = shares.sum(axis=0)
        log_weights = np.log(totals / len(x))
        means = shares.T @ x / totals[:, None]
        variances = shares.T @ (x * x) / totals[:, None] - means**2 + 1e-3
    return shares, np.array(likelihoods)


def purity(shares, labels):
    """The share of images whose label is the most common one of their component."""
    chosen = shares.argmax(axis=1)
    return sum(np.bincount(labels[chosen == k]).max() for k in np.unique(chosen)) / len(labels)


def main(arguments=None):
    """Fit with both libraries, print what each found and took; return the likelihoods."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--components", type=int, default=20)
    parser.add_argument("--dimensions", type=int, default=12)
    parser.add_argument("--iterations", type=int, default=60)
    options = parser.parse_args(arguments)
    x, labels, *_ = load()
    x, made = reduced(x, options.dimensions), []
    for name, library in (("fastrelu", fr), ("scipy.special", special)):
        start = time.perf_counter()
        shares, likelihoods = fit(library, x, options.components, options.iterations)
        took = (time.perf_counter() - start) / options.iterations
        print(
            f"{name:13}  log likelihood of an image {likelihoods[0]:.3f} -> {likelihoods[-1]:.3f}   "
            f"purity {purity(shares, labels):.1%}   {1e3 * took:.2f} ms an iteration"
        )
        made.append(likelihoods)
    print(f"largest difference between the two: {abs(made[0] - made[1]).max():.1e}")
    return made


if __name__ == "__main__":
    main()
