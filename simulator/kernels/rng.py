"""Uniform random numbers by address.

A draw is a function of its address (seed, patient, replicate, stream, occurrence) and of nothing else: no decision can
change the random numbers of another one. The generator is Philox4x32-10 (Salmon, Moraes, Dror and Shaw 2011, "Parallel
random numbers: as easy as 1, 2, 3", SC'11; constants and known answers from their Random123). Key: the two 32-bit words
of the seed, low word first. Counter words: patient, replicate, stream, occurrence, each in [0, 2^32); the tables see to
that range, and a kernel keeps the low 32 bits without a word.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulator.kernels.compilation import compiled_form, inlined_kernel, kernel
from simulator.kernels.elementary import float_from_bits

STREAM_VERSION = 1
"""Version of the map from decisions to addresses and from words to uniforms; part of every run record."""

STREAMS: Mapping[str, int] = MappingProxyType(
    {
        "visit": 1,  # intervals between visits, shared by the course and its assessments
        "course.planned": 2,
        "course.dose": 3,
        "adverse_event.frailty": 4,
        "study.entry": 5,
        "study.loss": 6,
        "study.evaluable": 7,
        "cohort.allocation": 8,
    }
)
"""Numbers of the streams Lobule itself draws from. A table of names, never reordered or renumbered.

A name that is not here belongs to a declared model, and `stream_number` derives its number from the name.
"""

_FIRST_DERIVED = 1 << 31

_MULTIPLIER_0 = np.uint64(0xD2511F53)
_MULTIPLIER_1 = np.uint64(0xCD9E8D57)
_WEYL_0 = np.uint64(0x9E3779B9)  # golden ratio
_WEYL_1 = np.uint64(0xBB67AE85)  # √3 − 1
_WORD = np.uint64(0xFFFFFFFF)
_U12 = np.uint64(12)
_U32 = np.uint64(32)
_BITS_TWO_52 = np.uint64(0x4330000000000000)
_TWO_52 = 4503599627370496.0
_TWO_MINUS_52 = 2.220446049250313e-16

Word = int | np.unsignedinteger[Any] | np.signedinteger[Any]
Words = tuple[np.uint64, np.uint64, np.uint64, np.uint64]


def stream_number(name: str) -> int:
    """Return the stream's number: the table's, else 2^31 + the first 31 bits of the name's BLAKE2s."""
    try:
        return STREAMS[name]
    except KeyError:
        digest = hashlib.blake2s(name.encode()).digest()
        return _FIRST_DERIVED + (int.from_bytes(digest[:4], "big") >> 1)


def stream_numbers(names: Iterable[str]) -> dict[str, int]:
    """Return the number of each name; ValueError where a name comes twice or two names share a number."""
    numbers: dict[str, int] = {}
    owners: dict[int, str] = {}
    for name in names:
        number = stream_number(name)
        if name in numbers:
            raise ValueError(f"two streams are called {name!r}: each needs a name of its own")
        if number in owners:
            raise ValueError(f"streams {owners[number]!r} and {name!r} share number {number}: rename one of them")
        numbers[name] = number
        owners[number] = name
    return numbers


@inlined_kernel
def _rounds(c0: Word, c1: Word, c2: Word, c3: Word, k0: Word, k1: Word, rounds: int) -> Any:
    """Counter and key after so many rounds. Words are held in 64 bits, whose upper halves mean nothing."""
    a = np.uint64(c0)
    b = np.uint64(c1)
    c = np.uint64(c2)
    d = np.uint64(c3)
    key_0 = np.uint64(k0)
    key_1 = np.uint64(k1)
    for _ in range(rounds):
        product_0 = (a & _WORD) * _MULTIPLIER_0
        product_1 = (c & _WORD) * _MULTIPLIER_1
        a = (product_1 >> _U32) ^ b ^ key_0
        b = product_1
        c = (product_0 >> _U32) ^ d ^ key_1
        d = product_0
        key_0 = key_0 + _WEYL_0
        key_1 = key_1 + _WEYL_1
    return a, b, c, d, key_0, key_1


@inlined_kernel
def philox4x32(c0: Word, c1: Word, c2: Word, c3: Word, k0: Word, k1: Word, rounds: int) -> Words:
    """Four 32-bit words from a counter of four and a key of two, after `rounds` rounds (10; 7 in tests).

    Salmon et al. 2011, section 3.3.
    """
    a, b, c, d, _, _ = _rounds(c0, c1, c2, c3, k0, k1, rounds)
    return a & _WORD, b & _WORD, c & _WORD, d & _WORD


@inlined_kernel
def uniform_from_words(low: Word, high: Word) -> float:
    """((x >> 12) + ½)·2^-52 of x = low | high·2^32: from 2^-53 to 1 − 2^-53, without rounding."""
    x = np.uint64(low) | (np.uint64(high) << _U32)
    return (float_from_bits((x >> _U12) | _BITS_TWO_52) - _TWO_52 + 0.5) * _TWO_MINUS_52


@inlined_kernel
def _leading_bits(k0: Word, k1: Word, patient: Word, replicate: Word, stream: Word, occurrence: Word) -> Word:
    """x >> 12 of the draw x at this address: the first two words of Philox, whose last round computes no others."""
    _, b, c, _, key_0, _ = _rounds(patient, replicate, stream, occurrence, k0, k1, 9)
    product = (c & _WORD) * _MULTIPLIER_1
    x = ((product << _U32) | (product >> _U32)) ^ ((b ^ key_0) & _WORD)
    return x >> _U12


@inlined_kernel
def _uniform(k0: Word, k1: Word, patient: Word, replicate: Word, stream: Word, occurrence: Word) -> float:
    bits = _leading_bits(k0, k1, patient, replicate, stream, occurrence)
    return (float_from_bits(bits | _BITS_TWO_52) - _TWO_52 + 0.5) * _TWO_MINUS_52


@inlined_kernel
def bits_below(probability: float) -> Any:
    """The number that `leading_bits` are below where the uniform of their address is below a probability, 0 to 1."""
    return np.int64(math.ceil(probability * _TWO_52 - 0.5))  # exact: a power of two, and no bit is lost by the half


@inlined_kernel
def leading_bits(seed: int, patient: int, replicate: int, stream: int, occurrence: int) -> Word:
    """First 52 bits of the draw at this address: its uniform is (bits + ½)·2^-52. In kernels only."""
    key = np.uint64(seed)
    return _leading_bits(key & _WORD, key >> _U32, patient, replicate, stream, occurrence)


def uniform(seed: int, patient: int, replicate: int, stream: int, occurrence: int) -> float:
    """Return the uniform at this address; seed in [0, 2^64), the others in [0, 2^32)."""
    # As 32-bit words: numba takes a Python integer for a signed one, which a seed from 2^63 on is not.
    return _uniform(seed & 0xFFFFFFFF, seed >> 32, patient, replicate, stream, occurrence)


@compiled_form(uniform)
def _uniform_in_kernels(seed: Any, patient: Any, replicate: Any, stream: Any, occurrence: Any) -> Any:
    def form(seed: Any, patient: Any, replicate: Any, stream: Any, occurrence: Any) -> Any:
        key = np.uint64(seed)
        return _uniform(key & _WORD, key >> _U32, patient, replicate, stream, occurrence)

    return form


@kernel
def _uniforms(
    seed: Word,
    patient: NDArray[np.int64],
    replicate: NDArray[np.int64],
    stream: Word,
    occurrence: NDArray[np.int64],
) -> NDArray[np.float64]:
    drawn = np.empty(patient.size, np.float64)
    key = np.uint64(seed)
    for i in range(patient.size):
        drawn[i] = _uniform(key & _WORD, key >> _U32, patient[i], replicate[i], stream, occurrence[i])
    return drawn


def uniforms(
    seed: int, patient: ArrayLike, replicate: ArrayLike, stream: int, occurrence: ArrayLike
) -> NDArray[np.float64]:
    """Uniforms at the addresses of three integer arrays that broadcast against each other; one stream.

    ValueError where a word of an address is not an integer in [0, 2^32).
    """
    words = np.broadcast_arrays(
        _checked("patient", patient), _checked("replicate", replicate), _checked("occurrence", occurrence)
    )
    number = int(_checked("stream", stream)[()])
    patients, replicates, occurrences = (np.ascontiguousarray(word).ravel() for word in words)
    drawn = _uniforms(np.uint64(seed), patients, replicates, number, occurrences)
    return drawn.reshape(words[0].shape)


def _checked(name: str, words: ArrayLike) -> NDArray[np.int64]:
    given = np.asarray(words)
    if given.size and (given.dtype.kind not in "iu" or given.min() < 0 or given.max() > 0xFFFFFFFF):
        raise ValueError(f"{name}: must be integers from 0 to 2^32 − 1")
    return given.astype(np.int64, copy=False)
