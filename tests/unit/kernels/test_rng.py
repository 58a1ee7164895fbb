"""V1–V3: Philox by address. Known answers: Random123's kat_vectors; an independent Philox in Python integers."""

import numpy as np
import pytest

from simulator.kernels import rng
from simulator.kernels.compilation import kernel

ONES = 0xFFFFFFFF
KNOWN_ANSWERS = [  # Random123, tests/kat_vectors, snapshot 2021-11: rounds, counter, key, words
    (10, (0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    (10, (ONES,) * 4, (ONES,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        10,
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
    (7, (0, 0, 0, 0), (0, 0), (0x5F6FB709, 0x0D893F64, 0x4F121F81, 0x4F730A48)),
]
MULTIPLIERS = {32: (0xD2511F53, 0xCD9E8D57), 64: (0xD2E7470EE14C6C93, 0xCA5A826395121157)}
WEYL = {32: (0x9E3779B9, 0xBB67AE85), 64: (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)}


def python_philox(counter, key, rounds, bits=32):
    """Salmon et al. 2011, figure 2, in unbounded integers."""
    mask = (1 << bits) - 1
    (m0, m1), (w0, w1) = MULTIPLIERS[bits], WEYL[bits]
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(rounds):
        high0, low0 = divmod(m0 * c0, mask + 1)
        high1, low1 = divmod(m1 * c2, mask + 1)
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0, k1 = (k0 + w0) & mask, (k1 + w1) & mask
    return c0, c1, c2, c3


def python_uniform(seed, patient, replicate, stream, occurrence):
    words = python_philox((patient, replicate, stream, occurrence), (seed & ONES, seed >> 32), 10)
    x = words[0] | words[1] << 32
    return ((x >> 12) + 0.5) * 2.0**-52


def words_of(counter, key, rounds):
    return tuple(int(word) for word in rng.philox4x32(*counter, *key, rounds))


@pytest.mark.parametrize(("rounds", "counter", "key", "words"), KNOWN_ANSWERS)
def test_philox_gives_the_known_answers(rounds, counter, key, words):
    assert words_of(counter, key, rounds) == words
    assert python_philox(counter, key, rounds) == words


def test_a_wrong_round_count_or_order_of_words_would_be_caught():
    """Negative control: the known answers tell these apart."""
    rounds, counter, key, words = KNOWN_ANSWERS[2]
    assert words_of(counter, key, 9) != words
    assert words_of(counter, key[::-1], rounds) != words
    assert words_of((counter[1], counter[0], *counter[2:]), key, rounds) != words


def test_philox_equals_an_independent_one_on_random_words():
    draws = np.random.default_rng(1).integers(0, 1 << 32, (2_000, 6)).tolist()
    for draw in draws:
        assert words_of(draw[:4], draw[4:], 10) == python_philox(draw[:4], draw[4:], 10)


def test_the_independent_philox_equals_numpys():
    """numpy has only the 4x64 form, and adds 1 to the counter before its first block."""
    for seed in range(20):
        generator = np.random.default_rng(seed)
        counter = [int(word) for word in generator.integers(1, 1 << 64, 4, dtype=np.uint64)]
        key = [int(word) for word in generator.integers(0, 1 << 64, 2, dtype=np.uint64)]
        before = np.array([counter[0] - 1, *counter[1:]], np.uint64)
        numpys = np.random.Philox(counter=before, key=np.array(key, np.uint64)).random_raw(4)
        assert tuple(numpys.tolist()) == python_philox(counter, key, 10, bits=64)


ADDRESSES = [
    (0, 0, 0, 0, 0),
    (20240229, 7, 3, 1, 12),
    (2**32, 1, 2, 3, 4),
    (2**63 - 1, 5, 6, 7, 8),
    (2**63, 5, 6, 7, 8),
    (2**64 - 1, 2**32 - 1, 2**32 - 1, 2**32 - 1, 2**32 - 1),
]


@pytest.mark.parametrize("address", ADDRESSES)
def test_uniform_is_that_of_its_address(address):
    assert rng.uniform(*address) == python_uniform(*address)
    seed, patient, replicate, stream, occurrence = address
    assert rng.uniforms(seed, [patient], [replicate], stream, [occurrence]).tolist() == [python_uniform(*address)]


def test_seeds_of_64_bits_do_not_compile_twice():
    rng.uniform(1, 2, 3, 4, 5)
    compiled = len(rng._uniform.signatures)
    rng.uniform(2**64 - 1, 2, 3, 4, 5)
    assert len(rng._uniform.signatures) == compiled


@kernel
def drawn_in_a_kernel(seed, patient, stream):
    return rng.uniform(seed, patient, 0, stream, 0)


@pytest.mark.parametrize("seed", [3, np.uint64(2**64 - 1)])
def test_uniform_in_a_kernel_equals_uniform_in_python(seed):
    assert drawn_in_a_kernel(seed, 11, 5) == python_uniform(int(seed), 11, 0, 5, 0)


def test_uniforms_broadcast_and_do_not_depend_on_their_neighbours():
    patients = np.arange(1_000)
    together = rng.uniforms(9, patients, 2, 5, 1)
    assert together.tolist() == [python_uniform(9, patient, 2, 5, 1) for patient in range(1_000)]
    assert rng.uniforms(9, patients[::-1], 2, 5, 1).tolist() == together[::-1].tolist()
    table = rng.uniforms(9, patients[:, None], np.arange(3)[None, :], 5, 1)
    assert table.shape == (1_000, 3)
    assert table[:, 2].tolist() == together.tolist()
    assert rng.uniforms(9, np.arange(0), 2, 5, 1).shape == (0,)


@pytest.mark.parametrize("word", [-1, 2**32, 1.5])
def test_an_address_outside_the_counter_is_refused_and_not_truncated(word):
    with pytest.raises(ValueError, match=r"patient: must be integers from 0 to 2\^32"):
        rng.uniforms(1, [word], 0, 1, 0)
    with pytest.raises(ValueError, match="stream"):
        rng.uniforms(1, [0], 0, word, 0)


@pytest.mark.parametrize(
    ("x", "u"),
    [
        (0, 2.0**-53),
        (1, 2.0**-53),
        (2**12, 1.5 * 2.0**-52),
        (2**63, 0.5 + 2.0**-53),
        (2**64 - 1, 1 - 2.0**-53),
    ],
)
def test_uniforms_are_centred_and_never_0_or_1(x, u):
    assert rng.uniform_from_words(x & ONES, x >> 32) == u
    assert 0 < u < 1


def test_the_53_bit_map_would_return_1():
    """Negative control of V3: why there are 52 bits."""
    assert (((2**64 - 1) >> 11) + 0.5) * 2.0**-53 == 1.0


def test_addresses_of_a_run_are_distinct():
    """V2: a bijection of the counter cannot collide; here 400,000 addresses of one seed give distinct words."""
    patients, streams = np.arange(20_000), range(1, 5)
    drawn = [rng.uniforms(1, patients, 0, stream, k) for stream in streams for k in range(5)]
    assert len(np.unique(np.concatenate(drawn))) == 400_000  # 52 bits: a false alarm in 1 of 56,000 seeds


def test_stream_names_and_numbers_are_not_used_twice():
    numbers = list(rng.STREAMS.values())
    assert len(set(numbers)) == len(numbers)
    assert numbers == list(range(1, len(numbers) + 1))


def test_streams_keep_their_numbers():
    """Regression values: changing one changes every result; then STREAM_VERSION must change too."""
    assert rng.STREAM_VERSION == 1
    assert dict(rng.STREAMS) == {
        "visit": 1,
        "course.planned": 2,
        "course.dose": 3,
        "adverse_event.frailty": 4,
        "study.entry": 5,
        "study.loss": 6,
        "study.evaluable": 7,
        "cohort.allocation": 8,
    }
    assert rng.stream_number("response") == 3365371004
    assert rng.stream_number("response.ever") == 2665563789


def test_names_and_not_their_order_decide_a_declared_streams_number():
    names = ["death", "progression", "response.ever", "visit"]
    assert rng.stream_numbers(names) == rng.stream_numbers(reversed(names))
    derived = [number for name, number in rng.stream_numbers(names).items() if name not in rng.STREAMS]
    assert all(2**31 <= number < 2**32 for number in derived)


def test_a_stream_named_twice_is_refused():
    with pytest.raises(ValueError, match="'death'"):
        rng.stream_numbers(["death", "response", "death"])


def test_streams_that_collide_are_refused_by_both_names(monkeypatch):
    monkeypatch.setattr(rng, "stream_number", lambda name: 5)
    with pytest.raises(ValueError, match=r"'a' and 'b' share number 5"):
        rng.stream_numbers(["a", "b"])


def test_uniforms_are_uniform_and_streams_uncorrelated():
    """False-alarm probability below 1e-8: Kolmogorov's bound (DKW) and a normal correlation at |z| < 6."""
    n = 100_000
    first, second = (rng.uniforms(77, np.arange(n), 0, stream, 0) for stream in (1, 2))
    gap = np.abs(np.sort(first) - (np.arange(n) + 0.5) / n).max()
    assert gap < np.sqrt(np.log(2 / 1e-9) / (2 * n)) + 0.5 / n
    assert abs(np.corrcoef(first, second)[0, 1]) * np.sqrt(n) < 6
