"""What Windows tells and does, that Python's own library does not."""

import ctypes
import sys
from ctypes import c_size_t, c_uint64, c_void_p

assert sys.platform == "win32"
import msvcrt  # noqa: E402

_KERNEL = ctypes.WinDLL("kernel32", use_last_error=True)
_KERNEL.GetCurrentProcess.restype = _KERNEL.OpenProcess.restype = c_void_p
_FAIL_AT_ONCE, _EXCLUSIVE, _TAKEN = 1, 2, 33
_SYNCHRONIZE, _STILL_RUNS = 0x100000, 258


def lock(descriptor: int, *, shared: bool) -> bool:
    """Lock an open file, whose own lock is let go before; whether no other program stands in the way."""
    handle, nowhere = c_void_p(msvcrt.get_osfhandle(descriptor)), ctypes.create_string_buffer(32)
    _KERNEL.UnlockFileEx(handle, 0, 1, 0, nowhere)
    how = _FAIL_AT_ONCE | (0 if shared else _EXCLUSIVE)
    return bool(_KERNEL.LockFileEx(handle, how, 0, 1, 0, nowhere)) or ctypes.get_last_error() != _TAKEN


def is_running(process: int) -> bool:
    """Whether there is a process with that number which has not ended."""
    handle = c_void_p(_KERNEL.OpenProcess(_SYNCHRONIZE, False, process))
    if not handle:
        return False
    try:
        return bool(_KERNEL.WaitForSingleObject(handle, 0) == _STILL_RUNS)
    finally:
        _KERNEL.CloseHandle(handle)


def memory() -> tuple[int, int]:
    """Bytes that the machine has, and bytes that programs can still be given, the paging file included."""
    status = (c_uint64 * 8)(ctypes.sizeof(c_uint64 * 8))
    _KERNEL.GlobalMemoryStatusEx(status)
    return status[1], status[4]


def resident() -> tuple[int, int]:
    """Bytes of memory that this process occupies: now, and at most so far."""
    counters = (c_size_t * 9)(ctypes.sizeof(c_size_t * 9))
    _KERNEL.K32GetProcessMemoryInfo(c_void_p(_KERNEL.GetCurrentProcess()), counters, ctypes.sizeof(counters))
    return counters[2], counters[1]
