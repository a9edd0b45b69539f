"""Random draws: the published generator, the bits that the docs show, and 10**7 of them under statistics.

Keys are fixed, so every run sees the same numbers; the bounds are those that a good generator keeps for all
but one key in some millions.
"""

import doctest
import pickle
from pathlib import Path

import numpy as np
import pytest
from cases import ON_KERNELS, REFERENCE_ULP
from scipy import special, stats
from ulp import distances

import fastrelu as fr
from fastrelu import dispatch, draws, reference

COUNT = 10**7
KEY = 0x123456789ABCDEF0
FLOATS = [np.float32, np.float64]
GENERATORS = [(d, t) for d in draws.DISTRIBUTIONS for t in FLOATS]
each_generator = pytest.mark.parametrize(("distribution", "dtype"), GENERATORS)
each_dtype = pytest.mark.parametrize("dtype", FLOATS)


def made(distribution, count, dtype, key=KEY, first=0):
    return dispatch.draws(distribution, key, first, count, np.dtype(dtype))


# The generator

# Counter, key and words as published with the paper (Random123, kat_vectors, philox4x32 with 10 rounds).
PUBLISHED = [
    ((0, 0, 0, 0), 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, 2**64 - 1, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        0x299F31D0A4093822,
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


@pytest.mark.parametrize(("counter", "key", "words"), PUBLISHED)
def test_philox_gives_the_published_words(counter, key, words):
    assert tuple(int(w) for w in draws.philox(counter, key)) == words


@pytest.mark.every_isa
@pytest.mark.parametrize("first", [0, 1, 63, 2**36 - 100, 2**45 + 3])
@each_dtype
def test_uniform_bits_are_those_of_the_reference(dtype, first):
    """Groups cut anywhere, and counters beyond their first word."""
    for count in (0, 1, 63, 64, 65, 700):
        expected = draws.draws("uniform", KEY, first, count, np.dtype(dtype))
        np.testing.assert_array_equal(made("uniform", count, dtype, first=first), expected, strict=True)


@pytest.mark.every_isa
def test_uniform_draws_by_the_word():
    """The definition once more, element by element."""
    for i in (0, 1, 15, 16, 63, 64, 1000, 123456):
        group, place = divmod(i, 64)
        words = [
            int(draws.philox((16 * group + place % 16, 0, digits, 0), KEY)[place // 16]) for digits in (0, 1)
        ]
        single = (words[0] // 2**8 + 0.5) / 2**24 - 0.5
        assert float(made("uniform", 1, np.float32, first=i)[0]) == single
        exact = 2 * (words[0] * 2**21 + words[1] // 2**11) + 1 - 2**53
        assert float(made("uniform", 1, np.float64, first=i)[0]) == exact * 2.0**-54


@pytest.mark.every_isa
@each_generator
def test_draws_do_not_depend_on_where_they_begin(distribution, dtype):
    whole = made(distribution, 1000, dtype)
    for first, count in ((1, 5), (31, 2), (64, 64), (65, 300), (990, 10)):
        np.testing.assert_array_equal(made(distribution, count, dtype, first=first), whole[first:][:count])


@pytest.mark.every_isa
def test_a_double_has_the_digits_of_the_float():
    single, double = made("uniform", 100_000, np.float32), made("uniform", 100_000, np.float64)
    assert abs(single - double).max() <= 2.0**-25


@pytest.mark.every_isa
@pytest.mark.parametrize("key", [KEY, 0, 2**64 - 1])
@each_dtype
def test_normal_draws_are_within_1_ulp(dtype, key):
    """Of the function of the uniform draws, which long double computes."""
    got = made("normal", 200_000 // 64 * 64, dtype, key)
    pairs = made("uniform", len(got), dtype, key).astype(np.longdouble).reshape(-1, 2, 32)
    exact = [f.exact(pairs[:, 0], pairs[:, 1]) for f in (reference.normal_cosine, reference.normal_sine)]
    worst = distances(got, np.stack(exact, axis=1).ravel()).max()
    assert worst <= (1.0 if ON_KERNELS or dtype == np.float32 else REFERENCE_ULP)


DOCS = Path(__file__).resolve().parent.parent / "docs/random.md"


@pytest.mark.every_isa
@each_generator
def test_the_draws_that_the_docs_show(distribution, dtype):
    label = f"| {distribution}, {np.dtype(dtype).name if distribution == 'uniform' else 'to 9 digits'} |"
    (row,) = [line for line in DOCS.read_text().splitlines() if line.startswith(label) and "u =" not in line]
    shown = [cell.strip() for cell in row.split("|")[2:-1]]
    got = [float(made(distribution, 1, dtype, fr.noise_key(0).bits, i)[0]) for i in (0, 1, 16, 64)]
    if distribution == "uniform":
        assert got == [float.fromhex(cell) for cell in shown]
    else:
        np.testing.assert_allclose(
            got, [float(cell) for cell in shown], rtol=1e-6 if dtype == np.float32 else 1e-8
        )


def test_the_examples_of_the_docs():
    results = doctest.testfile(str(DOCS), module_relative=False)
    assert results.attempted > 5
    assert results.failed == 0


# Statistics


@pytest.fixture(scope="module", params=GENERATORS, ids=lambda p: f"{p[0]}-{np.dtype(p[1]).name}")
def many(request):
    distribution, dtype = request.param
    return distribution, made(distribution, COUNT, dtype, fr.noise_key(2026).bits)


def test_kolmogorov_smirnov(many):
    distribution, values = many
    ordered = np.sort(values)
    share = ordered.astype(np.float64) + 0.5 if distribution == "uniform" else special.ndtr(ordered)
    steps = np.arange(COUNT + 1) / COUNT
    statistic = max((steps[1:] - share).max(), (share - steps[:-1]).max())
    assert stats.kstwobign.sf(statistic * COUNT**0.5) > 1e-4


def test_moments(many):
    """The first six, within 5 of their standard errors."""
    distribution, values = many
    wide = values.astype(np.float64)
    power = np.ones_like(wide)
    for n in range(1, 7):
        power *= wide
        if distribution == "uniform":
            expected, of_square = ((0 if k % 2 else 0.5**k / (k + 1)) for k in (n, 2 * n))
        else:
            expected, of_square = ((0 if k % 2 else special.factorial2(k - 1)) for k in (n, 2 * n))
        error = np.sqrt((of_square - expected**2) / COUNT)
        assert abs(power.mean() - expected) < 5 * error, f"moment {n}"


def test_lanes_are_uncorrelated(many):
    """The 64 places of a group, in size and in square: 2016 pairs of each."""
    _, values = many
    groups = values[: COUNT // 64 * 64].reshape(-1, 64).astype(np.float64)
    for columns in (groups, groups**2):
        r = np.corrcoef(columns, rowvar=False)
        np.fill_diagonal(r, 0)
        assert abs(r).max() < 5.5 / np.sqrt(len(groups))


def test_neighbours_are_uncorrelated(many):
    """Draws that lie up to two groups apart."""
    _, values = many
    wide = values[: COUNT // 4].astype(np.float64)
    for columns in (wide, wide**2):
        columns = (columns - columns.mean()) / columns.std()
        for lag in (*range(1, 66), 128):
            r = (columns[:-lag] * columns[lag:]).mean()
            assert abs(r) < 5 / np.sqrt(len(columns)), f"lag {lag}"


@each_generator
def test_neighbouring_keys_are_uncorrelated(distribution, dtype):
    keys = [KEY ^ 1 << bit for bit in (0, 1, 31, 32, 63)]
    keys += [fr.noise_key(i).bits for i in range(3)] + [fr.noise_key(0).fold(i).bits for i in range(3)]
    r = np.corrcoef([made(distribution, 200_000, dtype, key) for key in [KEY, *keys]])
    np.fill_diagonal(r, 0)
    assert abs(r).max() < 5 / np.sqrt(200_000)


@pytest.mark.parametrize("bit", [*range(8, 32)])
def test_every_bit_is_fair(bit):
    """Of the words behind the float draws, and together with the bit before it in the next draw."""
    u = ((made("uniform", 2**18, np.float32).astype(np.float64) + 0.5) * 2**24).astype(np.uint32)
    bits = u >> (bit - 8) & 1
    following = np.roll(u, 1) >> ((bit - 7) % 24) & 1
    for ones in (bits, bits ^ following):
        assert abs(ones.mean() - 0.5) < 5 * 0.5 / np.sqrt(len(u))


# Keys


def test_a_key_is_a_value():
    key = fr.noise_key(7)
    assert key == fr.noise_key(7) != fr.noise_key(8)
    assert hash(key) == hash(fr.noise_key(7))
    assert pickle.loads(pickle.dumps(key)) == key
    assert eval(repr(key), {"NoiseKey": fr.NoiseKey}) == key
    with pytest.raises(AttributeError):
        key.bits = 0


def test_a_generator_moves_on():
    rng = np.random.default_rng(7)
    first, second = fr.noise_key(rng), fr.noise_key(rng)
    assert first != second
    assert first == fr.noise_key(np.random.default_rng(7))


def test_integers_of_any_size_and_kind():
    keys = {fr.noise_key(n) for n in (0, 1, 2**32, 2**64, 2**64 + 1, 10**60)}
    assert len(keys) == 6
    assert fr.noise_key(np.uint8(3)) == fr.noise_key(3)


def test_folded_keys_differ():
    key = fr.noise_key(7)
    assert len({key, *(key.fold(n) for n in range(1000)), key.fold(2**64 - 1)}) == 1002


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: fr.noise_key(None), TypeError, ("rng", "NoneType", "Generator")),
        (lambda: fr.noise_key(True), TypeError, ("rng", "bool")),
        (lambda: fr.noise_key(1.0), TypeError, ("rng", "float")),
        (lambda: fr.noise_key(-1), ValueError, ("rng", "-1", "non-negative")),
        (lambda: fr.NoiseKey("0"), TypeError, ("bits", "str")),
        (lambda: fr.NoiseKey(2**64), ValueError, ("bits", 2**64)),
        (lambda: fr.noise_key(0).fold(-1), ValueError, ("number", "-1")),
        (lambda: fr.noise_key(0).fold(0.5), TypeError, ("number", "float")),
    ],
)
def test_bad_keys(call, kind, words):
    with pytest.raises(kind) as caught:
        call()
    assert all(str(word) in str(caught.value) for word in words)
