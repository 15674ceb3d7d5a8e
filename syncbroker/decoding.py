"""JSON and plain values into msgspec types, from any thread. All decoding of msgspec goes through here.

msgspec looks at a type's annotations when the type is first decoded, and other threads meet it half looked at: the
process ends with a segmentation fault (seen with 0.22.0: `StructInfo_Convert` in its `_core.c` notes the type before
its fields are known). So each type is looked at once, under a lock; what is known may be used by any number of threads.
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar, overload

import msgspec

_T = TypeVar("_T")

_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}
_lock = threading.Lock()


def decoder(shape: type[_T]) -> msgspec.json.Decoder[_T]:
    """The one decoder of a type, for all threads."""
    found = _decoders.get(shape)
    if found is None:
        with _lock:
            found = _decoders.setdefault(shape, msgspec.json.Decoder(shape))
    return found


@overload
def decode(body: bytes | str) -> Any: ...
@overload
def decode(body: bytes | str, shape: type[_T]) -> _T: ...
def decode(body: bytes | str, shape: Any = Any) -> Any:
    """JSON as a value of the type; msgspec.DecodeError, or its ValidationError where only the shape is wrong."""
    return decoder(shape).decode(body)


@overload
def convert(value: Any, shape: type[_T]) -> _T: ...
@overload
def convert(value: Any, shape: Any) -> Any: ...
def convert(value: Any, shape: Any) -> Any:
    """A plain value (of dicts, lists, numbers and texts) as one of the type; msgspec.ValidationError."""
    decoder(shape)
    return msgspec.convert(value, shape)
