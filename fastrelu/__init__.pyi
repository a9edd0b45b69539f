# Written by tools/write_stubs.py from fastrelu/table.py: edit those.
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike

from .activity import Activity as Activity
from .activity import ActivityMonitor as ActivityMonitor
from .activity import activity as activity
from .backends import Backend as Backend
from .backward import Backward as Backward
from .binary import logaddexp as logaddexp
from .check import DerivativeCheck as DerivativeCheck
from .check import check_derivative as check_derivative
from .config import show_config as show_config
from .control import accuracy as accuracy
from .control import backends as backends
from .control import get_cache_limit as get_cache_limit
from .control import get_num_threads as get_num_threads
from .control import set_accuracy as set_accuracy
from .control import set_backend as set_backend
from .control import set_cache_limit as set_cache_limit
from .control import set_num_threads as set_num_threads
from .control import use_backend as use_backend
from .custom import activation as activation
from .dispatch import Plan as Plan
from .dispatch import explain as explain
from .fused import bias_act as bias_act
from .gated import GatedUnit as GatedUnit
from .keys import NoiseKey as NoiseKey
from .keys import noise_key as noise_key
from .largest import maxout as maxout
from .losses import cross_entropy as cross_entropy
from .normalising import log_softmax as log_softmax
from .normalising import softmax as softmax
from .normalising import softmax0 as softmax0
from .reductions import logsumexp as logsumexp
from .reductions import logsumexp0 as logsumexp0
from .stepped import stepped_sigmoid as stepped_sigmoid
from .streaming import LogSumExp as LogSumExp

__version__: str

class Activation:
    backward: Backward
    variants: Mapping[str, Activation]
    @property
    def ufunc(self) -> np.ufunc: ...
    def __call__(
        self,
        x: ArrayLike,
        /,
        *parameters: Any,
        out: np.ndarray | tuple[np.ndarray] | None = ...,
        where: ArrayLike = ...,
        dtype: DTypeLike | None = ...,
        casting: str = ...,
        order: str = ...,
        subok: bool = ...,
        **named: Any,
    ) -> Any: ...
    def with_mask(
        self,
        x: ArrayLike,
        *,
        at_zero: int | None = ...,
        out: np.ndarray | None = ...,
        **parameters: Any,
    ) -> tuple[np.ndarray, np.ndarray]: ...

class _Gelu(Activation):
    tanh: Activation
    sigmoid: Activation

ACTIVATIONS: Mapping[str, Activation]
relu: Activation
heaviside: Activation
leaky_relu: Activation
prelu: Activation
relu6: Activation
hardtanh: Activation
hard_sigmoid: Activation
hard_swish: Activation
threshold: Activation
hardshrink: Activation
softshrink: Activation
relu_squared: Activation
smelu: Activation
softsign: Activation
squareplus: Activation
elu: Activation
selu: Activation
celu: Activation
softplus: Activation
sigmoid: Activation
expit: Activation
log_sigmoid: Activation
log_expit: Activation
logit: Activation
softplus_inverse: Activation
log1mexp: Activation
gelu: _Gelu
silu: Activation
mish: Activation
tanh: Activation
tanhshrink: Activation
rrelu: Activation
noisy_relu: Activation
glu: GatedUnit
reglu: GatedUnit
geglu: GatedUnit
swiglu: GatedUnit
