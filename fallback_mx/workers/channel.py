"""Between the service and one of its processes: frames over a Unix socket, some with a file descriptor.

A frame is a head (the length of the pickle, whether a descriptor comes with it, the number of buffers), the length of
each buffer, a pickled value, and the buffers: what is wrapped in a `PickleBuffer` goes as it is and arrives as bytes.
Both ends are processes of one service, started by it: what arrives is trusted. What is sent in one turn of the event
loop goes out together. When the other end is gone `on_end` is called, once; what is sent after that is dropped. A
process that may have no more descriptors gets the frame without the one that came with it.
"""

from __future__ import annotations

import array
import asyncio
import os
import pickle
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Any

READ_OCTETS = 256 * 1024
FINISH_SECONDS = 2.0
MOST_DESCRIPTORS = 64  # in one read
MOST_PIECES = 500  # in one write: the kernel takes 1,024
_CUT = int(socket.MSG_CTRUNC)
_INT_SIZE = array.array("i").itemsize
_HEAD = struct.Struct("=IBI")
_LENGTH_OCTETS = 4
_unpickle = pickle.loads

_Piece = bytes | memoryview


class Channel:
    """One end. `on_frame(value, descriptor)` is called on the event loop; a descriptor is the callee's to close.

    The descriptor is None where none was sent, and where it was lost.
    """

    def __init__(
        self, end: socket.socket, on_frame: Callable[[Any, int | None], None], on_end: Callable[[], None]
    ) -> None:
        end.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._socket = end
        self._on_frame = on_frame
        self._on_end = on_end
        self._input = bytearray()
        self._descriptors: deque[int | None] = deque()
        self._output: deque[tuple[list[_Piece], int | None]] = deque()
        self._is_flushing = False
        self._is_blocked = False
        self._is_closed = False
        self._buffer = memoryview(bytearray(READ_OCTETS))
        self._loop.add_reader(end, self._read)

    def send(self, value: object, descriptor: int | None = None) -> None:
        """The descriptor must stay open until the other end has answered in some way."""
        if self._is_closed:
            return
        buffers: list[pickle.PickleBuffer] = []
        octets = pickle.dumps(value, pickle.HIGHEST_PROTOCOL, buffer_callback=buffers.append)
        raw = [buffer.raw() for buffer in buffers]
        head = _HEAD.pack(len(octets), descriptor is not None, len(raw))
        lengths = struct.pack(f"={len(raw)}I", *map(len, raw))
        self._output.append(([head + lengths + octets, *raw], descriptor))
        if not self._is_flushing and not self._is_blocked:
            self._is_flushing = True
            self._loop.call_soon(self._flush)

    def finish(self) -> None:
        """Send what is left, waiting for the other end to take it, and close."""
        if not self._is_closed:
            self._socket.settimeout(FINISH_SECONDS)
            self._flush()
            self.close()

    def close(self) -> None:
        """Let go of the socket; `on_end` is not called for that."""
        if self._is_closed:
            return
        self._is_closed = True
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        for descriptor in self._descriptors:
            if descriptor is not None:
                os.close(descriptor)
        self._descriptors.clear()

    # Out --------------------------------------------------------------------------------------------------------

    def _flush(self) -> None:
        self._is_flushing = False
        while self._output and not self._is_closed:
            pieces, descriptor = self._next()
            try:
                sent = self._send(pieces, descriptor)
            except (BlockingIOError, InterruptedError):
                self._output.appendleft((pieces, descriptor))
                break
            except OSError:
                self._end()
                return
            if sent < sum(map(len, pieces)):
                # The descriptor went with the first octet.
                self._output.appendleft(([b"".join(pieces)[sent:]], None))
        if self._is_closed or bool(self._output) is self._is_blocked:
            return
        self._is_blocked = not self._is_blocked
        if self._is_blocked:
            self._loop.add_writer(self._socket, self._flush)
        else:
            self._loop.remove_writer(self._socket)

    def _next(self) -> tuple[list[_Piece], int | None]:
        """As many frames as go out together: a descriptor begins a piece of its own."""
        pieces, descriptor = self._output.popleft()
        size = sum(map(len, pieces))
        while self._output and self._output[0][1] is None and size < READ_OCTETS and len(pieces) < MOST_PIECES:
            more, _ = self._output.popleft()
            pieces += more
            size += sum(map(len, more))
        return pieces, descriptor

    def _send(self, pieces: list[_Piece], descriptor: int | None) -> int:
        if descriptor is None:
            return self._socket.sendmsg(pieces)
        rights = array.array("i", [descriptor])
        return self._socket.sendmsg(pieces, [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])

    # In ---------------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        try:
            count, ancillary, flags, _ = self._socket.recvmsg_into(
                [self._buffer], socket.CMSG_LEN(MOST_DESCRIPTORS * _INT_SIZE)
            )
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            count, ancillary, flags = 0, [], 0
        for level, kind, data in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                rights = array.array("i")
                rights.frombytes(data[: len(data) - len(data) % _INT_SIZE])
                self._descriptors.extend(rights)
        if flags & _CUT:
            # A read ends with the piece that brought a descriptor: there is one at most, and we could not have it.
            self._descriptors.append(None)
        if count == 0:
            self._end()
            return
        self._input += self._buffer[:count]
        self._take_frames()

    def _take_frames(self) -> None:
        start = 0
        view = memoryview(self._input)
        size = len(view)
        frames: list[tuple[Any, bool]] = []
        while size - start >= _HEAD.size:
            length, has_descriptor, count = _HEAD.unpack_from(view, start)
            pickled = start + _HEAD.size + count * _LENGTH_OCTETS
            if pickled > size:
                break
            lengths = struct.unpack_from(f"={count}I", view, start + _HEAD.size)
            end = pickled + length + sum(lengths)
            if end > size:
                break
            at = pickled + length
            buffers = []
            for each in lengths:
                buffers.append(bytes(view[at : at + each]))
                at += each
            frames.append((_unpickle(view[pickled : pickled + length], buffers=buffers), bool(has_descriptor)))
            start = end
        view.release()
        del self._input[:start]
        for value, has_descriptor in frames:
            if self._is_closed:
                return
            self._on_frame(value, self._descriptors.popleft() if has_descriptor else None)

    def _end(self) -> None:
        if not self._is_closed:
            self.close()
            self._on_end()
