"""The arrays of a sweep as Zarr reads them: every object is held against the manifest before a byte of it is used.

What the manifest does not name is not there, whatever lies in the folder; what it names and is missing or differs is
refused, with the scenarios that it is of.
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from typing import Self

from zarr.abc.store import ByteRequest, OffsetByteRequest, RangeByteRequest, Store, SuffixByteRequest
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.storage import LocalStore, WrapperStore

from simulator.sweep.manifest import DIFFERS, MISSING, Manifest
from simulator.sweep.store import ARRAYS


class ProvenStore(WrapperStore[LocalStore]):
    """A folder of Zarr arrays, read only, that is what a manifest says or raises ConfigError."""

    def __init__(self, store: LocalStore, manifest: Manifest) -> None:
        super().__init__(store)
        self.manifest = manifest

    def _with_store(self, store: LocalStore) -> Self:
        return type(self)(store, self.manifest)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        listed = self.manifest.listed.get(key)
        if listed is None:
            return None
        found = await self._store.get(key, prototype)
        if found is None or hashlib.sha256(found.as_numpy_array().tobytes()).hexdigest() != listed.checksum:
            raise self.manifest.refusal(f"{ARRAYS}/{key}", listed.block, MISSING if found is None else DIFFERS)
        return found if byte_range is None else found[_part(byte_range, len(found))]

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        return [await self.get(key, prototype, byte_range) for key, byte_range in key_ranges]

    async def _get_many(
        self, requests: Iterable[tuple[str, BufferPrototype, ByteRequest | None]]
    ) -> AsyncGenerator[tuple[str, Buffer | None], None]:
        for key, prototype, byte_range in requests:
            yield key, await self.get(key, prototype, byte_range)

    async def exists(self, key: str) -> bool:
        return key in self.manifest.listed

    async def is_empty(self, prefix: str) -> bool:
        return await Store.is_empty(self, prefix)

    async def list(self) -> AsyncIterator[str]:
        for key in self.manifest.listed:
            yield key

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        for key in self.manifest.listed:
            if key.startswith(prefix):
                yield key

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        within = f"{prefix.rstrip('/')}/" if prefix.rstrip("/") else ""
        below = (key.removeprefix(within) for key in self.manifest.listed if key.startswith(within))
        for name in dict.fromkeys(key.partition("/")[0] for key in below):
            yield name


def _part(wanted: ByteRequest, size: int) -> slice:
    """Return the bytes that a request is for."""
    if isinstance(wanted, RangeByteRequest):
        return slice(wanted.start, wanted.end)
    if isinstance(wanted, OffsetByteRequest):
        return slice(wanted.offset, size)
    assert isinstance(wanted, SuffixByteRequest)
    return slice(max(size - wanted.suffix, 0), size)
