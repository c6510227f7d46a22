"""The memory of a process that serves: its garbage collector and its allocator."""

import ctypes
import gc

# How many more objects there must be before garbage is searched for among them, how many such searches make one among
# the older ones too, and how many of those one among all. Python's own numbers are 700, 10 and 10. What a connection
# that breaks leaves behind may wait for a search among all, together with some 180,000 other objects at most.
_GARBAGE_THRESHOLDS = (10_000, 5, 2)
# The size in bytes of what malloc takes from the system by itself and gives back at once, and the number of that
# parameter in glibc's malloc.h.
_LARGE_BYTES = 128 * 1024
_M_MMAP_THRESHOLD = -3


def settle() -> None:
    """Has the collector pass over what there is now and search less often, and the allocator keep no long question.

    A chat leaves no garbage, and all streams wait while it is searched for: with 1,000 of them some 60 ms.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*_GARBAGE_THRESHOLDS)
    # That is glibc's default only until such a piece is freed: then it takes pieces of this size from among the small
    # ones, which hold on to the place.
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # not everywhere
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
