"""Cross entropy as each library's user gets it: loss, gradient, and both; for bench/reductions.py.

PyTorch's lines are what its autograd runs for ``torch.nn.functional.cross_entropy``, without what autograd
itself costs.  SciPy's and JAX's are the expressions that their users write; JAX compiles them.
"""

import numpy as np

import fastrelu as fr
from fastrelu import peers

OWN = {
    "forward": "result = fr.cross_entropy(x, labels, axis=-1)",
    "backward": "fr.cross_entropy.backward(1.0, x, labels, axis=-1, out=out)",
    "value_and_grad": "loss = fr.cross_entropy.value_and_grad(x, labels, axis=-1, out=out)[0]",
}
# It wants the classes of labels as columns.
TORCH_LOSS = "y = aten._log_softmax(x, {axis}, False); log_p = y{turned}; "
NLL = "aten.nll_loss_forward(log_p, labels, None, 1, -100)"
TORCH_BOTH = (
    f"{TORCH_LOSS}loss, total = {NLL}; "
    "dy = aten.nll_loss_backward(one, log_p, labels, None, 1, -100, total){turned}; "
    "aten._log_softmax_backward_data.out(dy, y, {axis}, dtype, out=out)"
)
TORCH = {"forward": f"{TORCH_LOSS}result = {NLL}[0]", "backward": TORCH_BOTH, "value_and_grad": TORCH_BOTH}
SCIPY_GRADIENT = "out[at] -= 1; np.divide(out, labels.size, out=out)"
SCIPY = {
    "forward": "result = -special.log_softmax(x, axis={axis})[at].mean()",
    "backward": f"out[...] = special.softmax(x, axis={{axis}}); {SCIPY_GRADIENT}",
    "value_and_grad": "y = special.log_softmax(x, axis={axis}); loss = -y[at].mean(); "
    f"np.exp(y, out=out); {SCIPY_GRADIENT}",
}


def operations():
    return [peers.Operation("cross_entropy", pass_, line, "") for pass_, line in OWN.items()]


def job(peer, operation, data, threads):
    """A library's way to do it, or None."""
    make = {"fastrelu": own_job, "torch": torch_job, "jax": jax_job, "scipy": scipy_job}.get(peer)
    return make(operation, data, threads > 1) if make else None


def own_job(operation, data, spins):
    names = {"fr": fr, "x": data.x, "labels": data.labels, "out": data.out}
    return peers.Job("fastrelu", operation.statement, names, data.out, spins=spins)


def torch_job(operation, data, spins):
    import torch

    arrays = {"x": data.x, "labels": data.labels, "out": data.out}
    names = {name: torch.from_numpy(array) for name, array in arrays.items()}
    dtype = names["x"].dtype
    names |= {"aten": torch.ops.aten, "dtype": dtype, "one": torch.ones((), dtype=dtype)}
    turned = ".T" if operation.axis == 0 else ""
    statement = TORCH[operation.pass_].format(axis=operation.axis, turned=turned)
    return peers.Job("torch", statement, names, data.out, spins=spins)


def jax_job(operation, data, spins):
    import jax
    import jax.numpy as jnp

    def loss(x, labels):
        own = jnp.expand_dims(labels, operation.axis)
        log_p = jax.nn.log_softmax(x, axis=operation.axis)
        return -jnp.mean(jnp.take_along_axis(log_p, own, axis=operation.axis))

    made = {"forward": lambda f: f, "backward": jax.grad, "value_and_grad": jax.value_and_grad}
    names = {"f": jax.jit(made[operation.pass_](loss)), "wait": jax.block_until_ready}
    names |= {"x": jnp.asarray(data.x), "labels": jnp.asarray(data.labels)}
    results = "loss, result" if operation.pass_ == "value_and_grad" else "result"
    return peers.Job("jax", f"{results} = wait(f(x, labels))", names, data.out, spins=spins)


def scipy_job(operation, data, spins):
    from scipy import special

    rows = np.arange(data.labels.size)
    at = (data.labels, rows) if operation.axis == 0 else (rows, data.labels)
    names = {"np": np, "special": special, "x": data.x, "labels": data.labels, "at": at, "out": data.out}
    statement = SCIPY[operation.pass_].format(axis=operation.axis)
    return peers.Job("scipy", statement, names, data.out)


def deviation(theirs, own, data):
    """As `peers.deviation`, of the loss too where it is not the result."""
    off = peers.deviation(theirs, data)
    if data.operation.pass_ != "value_and_grad":
        return off
    loss, expected = (loss_of(job) for job in (theirs, own))
    return max(off, abs(loss - expected) / abs(expected))


def loss_of(job):
    names = dict(job.names)
    exec(job.statement, names)
    return float(names["loss"])
