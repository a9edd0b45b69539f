"""The same network in torch, on the CPU: same initial weights, autograd, `torch.optim.SGD`."""

from __future__ import annotations

import torch

from .network import arguments, learned_parameter

__all__ = ["TorchTwin"]


# What torch has no function for.
COMPOSED = {
    "gelu.sigmoid": lambda x: x * torch.sigmoid(1.702 * x),
    "relu_squared": lambda x: torch.relu(x).square(),
    "smelu": lambda x: torch.where(x.abs() < 1, (x + 1).square() / 4, torch.relu(x)),
    "squareplus": lambda x: (x + torch.sqrt(x.square() + 4)) / 2,
}


def _function(activation):
    """torch's name for an activation, or its lines above, or None where it has neither."""
    if activation.row.qualname in COMPOSED:
        return COMPOSED[activation.row.qualname]
    family, _, variant = activation.row.qualname.partition(".")
    spellings = (family, family.replace("_", ""))  # logsigmoid
    homes = (torch, torch.nn.functional)
    function = next((getattr(home, s) for s in spellings for home in homes if hasattr(home, s)), None)
    if function is None or not variant:
        return function
    keyword, value = activation.row.option
    return lambda x: function(x, **{keyword: value})


class TorchTwin:
    """Trains beside a `network.Network`, of which it takes the initial weights.

    Raises
    ------
    LookupError
        If torch has no such activation.
    """

    label = f"torch {torch.__version__.partition('+')[0]}"

    def __init__(self, network, activation, threads):
        self.function = _function(activation)
        if self.function is None:
            raise LookupError(f"torch has no {activation.row.qualname}")
        torch.set_num_threads(threads)
        self.given = arguments(activation)
        self.learned = learned_parameter(activation)
        self.layers = [
            [torch.tensor(v, requires_grad=True) for v in (layer.weight, layer.bias, layer.slope) if v.size]
            for layer in network.layers
        ]
        self.optimiser = torch.optim.SGD(
            [parameter for layer in self.layers for parameter in layer],
            lr=float(network.rate),
            momentum=float(network.momentum),
        )

    def _loss(self, x, labels):
        x, labels = torch.from_numpy(x), torch.from_numpy(labels)
        *hidden, last = self.layers
        for weight, bias, *slope in hidden:
            x = self.function(torch.addmm(bias, x, weight), *slope, **self.given)
        logits = torch.addmm(last[1], x, last[0])
        return torch.nn.functional.cross_entropy(logits, labels), logits

    def kept(self, x, labels):
        """Bytes that autograd keeps of a step for its backward pass, parameters and inputs aside."""
        own = {p.data_ptr() for layer in self.layers for p in layer} | {x.ctypes.data, labels.ctypes.data}
        sizes = {}

        def keep(tensor):
            storage = tensor.untyped_storage()
            if storage.data_ptr() not in own:
                sizes[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            kept_alive = self._loss(x, labels)
        del kept_alive
        return sum(sizes.values())

    def epoch(self, batches):
        """A step on every batch; the mean loss on the way."""
        total = 0.0
        for x, labels in batches:
            loss, _ = self._loss(x, labels)
            self.optimiser.zero_grad()
            loss.backward()
            self.optimiser.step()
            total += loss.item() * len(labels)
        return total / sum(len(labels) for _, labels in batches)

    def evaluate(self, x, labels):
        """Mean loss and accuracy."""
        with torch.no_grad():
            loss, logits = self._loss(x, labels)
        return loss.item(), float((logits.argmax(axis=1).numpy() == labels).mean())
