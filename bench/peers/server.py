"""Answers requests for one peer: a line on standard input, a line on standard output, in turn.

    about                              about numba 0.68.1, Python 3.11.7
    run saxpy f32=0.5 f32[64] f32[64]  took 0.81    the first run, what it compiles included
    time 8                             took 2.9e-6  so many times more: the seconds of one
    run spmv u32[65] ...               none WHY     the peer has no such kernel
    nonsense                           failed WHY   what could not be done

Buffers of arguments are raw little-endian files named by position in the folder of inputs. After
`run`, results are in the folder of outputs, named alike. Times are seconds, from the call to the
result on the host; the end of the input ends the server.

    python server.py peer_NAME INPUTS OUTPUTS CACHE THREADS

A peer is a module beside this file, with

    start(threads, cache)   says how many threads to use and where compiled code may be kept
    version()               of the package
    KERNELS                 name to function: of the arguments, gives (run, results): what makes a
                            call, and what gives the results as arrays by position
    NOT_WRITTEN             name to the reason why there is none
"""

import gc
import importlib
import os
import platform
import re
import sys
import time
from pathlib import Path

TYPES = {"f32": "<f4", "u32": "<u4", "i32": "<i4"}


def arguments(words, inputs):
    """Scalars and arrays as the words say."""
    import numpy

    result = []
    for at, word in enumerate(words):
        if scalar := re.fullmatch(r"(f32|u32)=(\S+)", word):
            number = float if scalar[1] == "f32" else int
            result.append(number(scalar[2]))
        elif buffer := re.fullmatch(r"(f32|u32|i32)\[(\d+)\]", word):
            array = numpy.fromfile(inputs / str(at), dtype=TYPES[buffer[1]])
            if len(array) != int(buffer[2]):
                raise ValueError(f"argument {at} has {len(array)} elements instead of {buffer[2]}")
            result.append(array)
        else:
            raise ValueError(f"`{word}` is no argument")
    return result


class Server:
    def __init__(self, name, peer, inputs, outputs):
        self.name, self.peer, self.inputs, self.outputs = name, peer, inputs, outputs
        self.call = None

    def answer(self, line):
        match line.split():
            case ["about"]:
                version = f"{self.name} {self.peer.version()}"
                return f"about {version}, Python {platform.python_version()}"
            case ["run", kernel, *words]:
                return self.run(kernel, words)
            case ["time", count] if self.call:
                return self.time(int(count))
            case _:
                return f"failed `{line.strip()}` cannot be answered"

    def run(self, kernel, words):
        # The old arguments first: both may not fit into memory.
        self.call = None
        if kernel not in self.peer.KERNELS:
            return f"none {self.peer.NOT_WRITTEN.get(kernel, 'not written')}"
        call, results = self.peer.KERNELS[kernel](*arguments(words, self.inputs))
        start = time.perf_counter()
        call()
        took = time.perf_counter() - start
        for at, array in results().items():
            array.tofile(self.outputs / str(at))
        self.call = call
        return f"took {took!r}"

    def time(self, count):
        call = self.call
        # As `timeit` does.
        gc.disable()
        start = time.perf_counter()
        for _ in range(count):
            call()
        took = time.perf_counter() - start
        gc.enable()
        return f"took {took / count!r}"


def main():
    name, inputs, outputs, cache, threads = sys.argv[1:]
    # Packages that greet on standard output would be taken for replies.
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    server = None
    for line in sys.stdin:
        try:
            if server is None:
                peer = importlib.import_module(name)
                peer.start(int(threads), cache)
                server = Server(name.removeprefix("peer_"), peer, Path(inputs), Path(outputs))
            reply = server.answer(line)
        except Exception as error:
            reply = f"failed {type(error).__name__}: {error}"
        print(" ".join(reply.split()), file=replies, flush=True)


if __name__ == "__main__":
    main()
