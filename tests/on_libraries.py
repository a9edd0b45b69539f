"""Arrays of PyTorch, CuPy, JAX and Numba on a device: for a machine with one, by ``bench/cuda_all.py``."""

import numpy as np
import pytest

import fastrelu as fr

torch = pytest.importorskip("torch")
if not torch.cuda.is_available():
    pytest.skip("PyTorch finds no device", allow_module_level=True)

SEQUENCE = (
    lambda x: fr.gelu(x),
    lambda x: fr.softmax(x, axis=1),
    lambda x: fr.logsumexp(x, axis=1),
    lambda x: fr.relu.backward(x, x),
    lambda x: fr.bias_act(x, x[0], fr.silu),
    lambda x: fr.bias_act.backward(x, x, x[0], fr.silu)[1],
)


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("index", range(len(SEQUENCE)))
@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_tensors(dtype, index):
    """The kind, dtype and device of the caller's array, and the host's numbers."""
    x = torch.from_numpy(numbers(64, 256)).to(getattr(torch, dtype))
    got, expected = SEQUENCE[index](x.cuda()), SEQUENCE[index](x)
    assert type(got) is torch.Tensor
    assert (got.dtype, got.device.type) == (x.dtype, "cuda")
    got, expected = got.cpu().double(), torch.as_tensor(expected).double()
    allowed = 4 * torch.finfo(x.dtype).eps
    np.testing.assert_allclose(got, expected, rtol=allowed, atol=allowed)


def test_cupy_arrays():
    cupy = pytest.importorskip("cupy")
    x = numbers(64, 256)
    for function in SEQUENCE:
        got = function(cupy.asarray(x))
        assert isinstance(got, cupy.ndarray)
        np.testing.assert_allclose(cupy.asnumpy(got), function(x), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_jax_arrays(dtype):
    jax = pytest.importorskip("jax")
    if jax.default_backend() != "gpu":
        pytest.skip("JAX finds no device")
    x = jax.numpy.asarray(numbers(64, 256)).astype(dtype)
    host = np.asarray(x)
    for function in (fr.relu, lambda x: fr.relu.backward(x, x)):
        got = function(x)
        torch.cuda.synchronize()  # which the caller does
        assert isinstance(got, jax.Array)
        np.testing.assert_array_equal(np.asarray(got), function(host))


def test_numba_arrays():
    cuda = pytest.importorskip("numba.cuda")
    x = numbers(64, 256)
    for function in SEQUENCE[:5]:
        got = function(cuda.to_device(x))
        assert type(got).__module__.startswith(("numba.cuda", "numba_cuda"))
        np.testing.assert_allclose(got.copy_to_host(), function(x), rtol=1e-6, atol=1e-6)


class Lending:
    """An array of which nothing is known but DLPack."""

    def __init__(self, tensor):
        self.tensor = tensor

    def __dlpack__(self, **more):
        return self.tensor.__dlpack__(**more)

    def __dlpack_device__(self):
        return self.tensor.__dlpack_device__()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_arrays_lent_by_dlpack(dtype):
    x = torch.from_numpy(numbers(64, 256)).cuda().to(getattr(torch, dtype))
    out = torch.empty_like(x)
    fr.relu(Lending(x), out=Lending(out))
    torch.cuda.synchronize()
    assert torch.equal(out, torch.relu(x))


def test_the_current_stream_is_used():
    """What a stream has not reached yet cannot have been read."""
    x, stream = torch.zeros(1 << 24, device="cuda"), torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        torch.cuda._sleep(100_000_000)
        x.fill_(2.0)
        y = fr.relu(x)
    stream.synchronize()
    assert (y == 2).all()


def test_a_graph_captures_a_sequence():
    """Of calls whose kernels have been launched before; replayed with other numbers in the same memory."""
    x = torch.from_numpy(numbers(64, 256)).cuda()
    for f in SEQUENCE:
        f(x)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = [f(x) for f in SEQUENCE]
    x.copy_(torch.from_numpy(numbers(64, 256, seed=1)))
    expected = [f(x) for f in SEQUENCE]
    graph.replay()
    torch.cuda.synchronize()
    for got, one in zip(captured, expected, strict=True):
        assert torch.equal(got, one)


def test_a_graph_captures_a_kernel_that_was_never_launched():
    x = torch.from_numpy(numbers(64, 256)).cuda()
    fr.celu(x[0])
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = fr.celu.backward(x, x)
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(captured, fr.celu.backward(x, x))


def test_two_devices_are_refused():
    if torch.cuda.device_count() < 2:
        pytest.skip("there is one device")
    a, b = (torch.ones(3, device=f"cuda:{i}") for i in range(2))
    with pytest.raises(ValueError, match="device 1"):
        fr.relu.backward(a, b)
