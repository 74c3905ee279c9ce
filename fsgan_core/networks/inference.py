"""Running a network: every neural engine gives its tensors to a Runner and gets float32 back.

A Runner holds one network ready to run: batch norm folded into the convolutions, channels last, in bfloat16 where the
device has it (`resolve_precision`), under inference mode. Runners are shared (`runner_for`) and safe to use from
several threads: one pass at a time runs on a device and has all of its cores.

A sample's result does not depend on its companions in the batch. On the CPU samples are run one by one: a batch gains
nothing there. Elsewhere the thread whose turn it is takes along what other threads, at work on other frames, wait for
from the same network, so that frames share a pass as views do. There a batch of a size and shape not met before is run
one by one, too, and once together: only where all bits are equal is that size used from then on, else halves of it.
Tests prove both on the CPU, the second with a network whose samples do depend on each other; on CUDA it rests on that
comparison and on cuDNN's deterministic algorithms, chosen by shape and without timing (tests/networks/test_cuda.py).

Nor does it depend on the number of threads: 3x3 and 7x7 convolutions, and all in bfloat16, give the same bits with 1
to 8 of them (measured, and tested); a 1x1 convolution in float32 does not, so networks with one run on FIXED_THREADS
then. Another make of CPU is another kind of device: its bits may differ.
"""

from __future__ import annotations

import copy
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from fsgan_core.contract.errors import MachineError, ParameterError
from fsgan_core.networks.fold import folded

if TYPE_CHECKING:
    from fsgan_core.networks.weights.catalogue import Installed, Weight

__all__ = ["PRECISIONS", "Runner", "load_runner", "resolve_precision", "runner_for"]

log = logging.getLogger(__name__)

Answer = Tensor | tuple[Tensor, ...]

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Instructions that multiply in that precision, as torch.cpu.get_capabilities names them (x86, ARM).
CPU_INSTRUCTIONS = {"bf16": ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"), "fp16": ("avx512_fp16", "amx_fp16")}
MOST_RUNNERS = 8  # kept loaded: the six networks of a shot and two to change to
MOST_SAMPLES = 16  # in one pass
FIXED_THREADS = 2  # where bits would follow the number of threads

COMPILE_VARIABLE = "FSGAN_COMPILE"

_locks: dict[str, threading.RLock] = {}
_runners: OrderedDict[tuple[str, str, str], Runner] = OrderedDict()
_registry = threading.RLock()


def resolve_precision(device: str = "cpu", precision: str = "auto") -> str:
    """"fp32", "bf16" or "fp16": what `precision` means on that device.

    "auto" is bf16 on a CPU with instructions for it (AVX512-BF16, AMX, ARM's) and on CUDA from compute capability 8.0;
    fp16 on CUDA from 7.0; else fp32. fp16 is refused to a CPU without instructions for it: fp32 then.
    Raises ParameterError for another name.
    """
    if precision not in ("auto", *PRECISIONS):
        raise ParameterError(f"weights.precision {precision!r} is not known; it is auto, {', '.join(PRECISIONS)}")
    kind = torch.device(device).type
    if kind == "cpu":
        if precision == "auto":
            return "bf16" if _cpu_has("bf16") else "fp32"
        return "fp32" if precision == "fp16" and not _cpu_has("fp16") else precision
    if precision != "auto":
        return precision
    if kind == "cuda":
        capability = torch.cuda.get_device_capability(device)
        return "bf16" if capability >= (8, 0) else "fp16" if capability >= (7, 0) else "fp32"
    return "fp32"


def _cpu_has(precision: str) -> bool:
    there = torch.cpu.get_capabilities()
    return any(there.get(name, False) for name in CPU_INSTRUCTIONS[precision])


class Runner:
    """One network ready to run, safe to use from several threads. Made by `runner_for` or `load_runner`.

    device: "cpu", "cuda:0", ...; it becomes "cpu" when the device's memory does not do for one sample.
    precision: "fp32", "bf16" or "fp16". weight: what the catalogue says of the weights, None where it says nothing.
    """

    def __init__(self, network: nn.Module, device: str, precision: str, weight: Weight | None = None,
                 compiled: bool = False) -> None:
        """Takes `network` over; precision as in `resolve_precision`."""
        self.weight = weight
        self._name = weight.name if weight is not None else type(network).__name__
        self._waiting: list[_Asked] = []
        self._gathering = threading.Lock()
        self._call: Callable[[Tensor], Answer]
        try:
            self._network: nn.Module = folded(network)
        except Exception as error:  # torch.fx raises nearly anything for what it cannot trace
            log.info("%s runs as it is, its batch norm is not folded (%s)", self._name, error)
            self._network = network.eval().requires_grad_(False)
        self._place(device, precision)
        if compiled:
            self._call = _Compiled(self._network, self._name, self.device)

    def _place(self, device: str, precision: str) -> None:
        self.device = str(torch.device(device))
        self.precision = resolve_precision(device, precision)
        self._dtype = PRECISIONS[self.precision]
        self._network.to(device=device, dtype=self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._call = self._network
        self._most = 1 if torch.device(device).type == "cpu" else MOST_SAMPLES
        self._same: dict[tuple[int, ...], bool] = {}
        self._thread_bound = self.precision == "fp32" and any(map(_sums_by_threads, self._network.modules()))

    def run(self, x: Tensor) -> Answer:
        """float32 (n, c, h, w) on any device, n at least 1 -> what the network gives, float32 on the runner's device.

        Raises MachineError: the machine's memory does not do for one sample.
        """
        asked = _Asked(x)
        with self._gathering:
            self._waiting.append(asked)
        try:
            return self._answered(asked)
        finally:
            with self._gathering:
                self._waiting.remove(asked)

    def _answered(self, asked: _Asked) -> Answer:
        while True:
            device = self.device
            with _lock(device):
                if asked.answer is not None:  # another thread took it along
                    return asked.answer
                if device != self.device:  # another thread moved it
                    continue
                try:
                    with torch.inference_mode(), steady_kernels(device, self._thread_bound):
                        return self._in_company(asked)
                except torch.OutOfMemoryError as error:
                    if torch.device(device).type == "cpu":
                        height, width = asked.x.shape[-2:]
                        raise MachineError(f"{self._name}: not enough memory for a picture of {width} x {height} px "
                                           "on the CPU; set a smaller resolution, or use another machine") from error
                    self._place("cpu", self.precision)
                    log.warning("%s: the memory of %s does not do for one picture; it runs on the CPU from now on",
                                self._name, device)
                    _release(device)

    def _in_company(self, asked: _Asked) -> Answer:
        """The answer to `asked`; others that wait for pictures of the same shape are answered in the same pass, as
        many as it has room for. Where that pass fails, each has a pass of its own, and its own error."""
        company, room = [asked], self._most - len(asked.x)
        with self._gathering:
            for other in self._waiting:
                if (other is not asked and other.answer is None and len(other.x) <= room
                        and other.x.shape[1:] == asked.x.shape[1:]):
                    company.append(other)
                    room -= len(other.x)
        if len(company) == 1:
            return self._joined(asked.x)
        try:
            answer = self._joined(torch.cat([one.x for one in company]))
        except torch.OutOfMemoryError:
            raise
        except Exception:  # whose samples it was does not show
            return self._joined(asked.x)
        counts = [len(one.x) for one in company]
        outputs = [output.split(counts) for output in (answer if isinstance(answer, tuple) else (answer,))]
        for one, parts in zip(company, zip(*outputs, strict=True), strict=True):
            one.answer = parts if isinstance(answer, tuple) else parts[0]
        assert asked.answer is not None
        return asked.answer

    def _joined(self, x: Tensor) -> Answer:
        answers: list[Answer] = []
        done = 0
        while done < len(x):
            part = self._size(len(x) - done, x.shape)
            try:
                answers += self._part(x[done:done + part])
            except torch.OutOfMemoryError:
                if part == 1:
                    raise
                self._most = part // 2
                log.warning("%s: the memory of %s does not do for %d pictures at once; at most %d from now on",
                            self._name, self.device, part, self._most)
                _release(self.device)
            else:
                done += part
        if isinstance(answers[0], Tensor):
            return _cat(answers)
        return tuple(_cat(outputs) for outputs in zip(*answers, strict=True))

    def _size(self, left: int, shape: torch.Size) -> int:
        """How many samples the next pass takes: a power of two, so that few sizes are met."""
        size = 1 << (min(left, self._most).bit_length() - 1)
        while size > 1 and not self._same.get((size, *shape[1:]), True):
            size //= 2
        return size

    def _part(self, x: Tensor) -> list[Answer]:
        if len(x) == 1:
            return [self._pass(x)]
        together, judged = self._pass(x), (len(x), *x.shape[1:])
        if judged in self._same:
            return [together]
        alone = [self._pass(one) for one in x.split(1)]
        whole = together if isinstance(together, tuple) else (together,)
        single = [one if isinstance(one, tuple) else (one,) for one in alone]
        self._same[judged] = all(torch.equal(output, torch.cat(ones))
                                 for output, ones in zip(whole, zip(*single, strict=True), strict=True))
        log.debug("%s: %d samples of %s at once: %s bits", self._name, len(x), tuple(x.shape[1:]),
                  "the same" if self._same[judged] else "other")
        return alone

    def _pass(self, x: Tensor) -> Answer:
        x = x.to(device=self.device, dtype=self._dtype).contiguous(memory_format=torch.channels_last)
        answer = self._call(x)
        return tuple(map(_finished, answer)) if isinstance(answer, tuple) else _finished(answer)


class _Asked:
    """Samples that a thread waits for, (n, c, h, w), and the answer once a pass has been run with them."""

    def __init__(self, x: Tensor) -> None:
        self.x = x
        self.answer: Answer | None = None


class _Compiled:
    """The network through torch.compile: CUDA graphs on CUDA. Where that fails, as it is."""

    def __init__(self, network: nn.Module, name: str, device: str) -> None:
        mode = "reduce-overhead" if torch.device(device).type == "cuda" else "default"
        self._network = network
        self._name = name
        self._call: Callable[[Tensor], Answer] = torch.compile(network, mode=mode, dynamic=False)

    def __call__(self, x: Tensor) -> Answer:
        try:
            return self._call(x)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # no compiler, an operation that it does not know, ...
            if self._call is self._network:
                raise
            log.info("%s is not compiled: %s", self._name, str(error).strip().split("\n")[0])
            self._call = self._network
            return self._call(x)


def load_runner(network: nn.Module, device: str = "cpu", precision: str = "auto", *,
                compiled: bool = False) -> Runner:
    """A runner of its own for a network without a catalogue entry, which is left as it is. Raises ParameterError."""
    return Runner(copy.deepcopy(network), device, precision, compiled=compiled)


def runner_for(installed: Installed, device: str = "cpu", precision: str = "auto") -> Runner:
    """The process's runner for those weights; the MOST_RUNNERS last used are kept loaded.

    With the environment variable FSGAN_COMPILE=1 it is compiled by torch.compile (CUDA graphs on CUDA): worth it for
    long renders only, and its bits are not those of other machines. Raises WeightsError, ParameterError.
    """
    from fsgan_core.networks.weights.checkpoint import load_network

    key = (installed.sha256, str(torch.device(device)), resolve_precision(device, precision))
    with _registry:
        runner = _runners.get(key)
        if runner is None:
            compiled = os.environ.get(COMPILE_VARIABLE, "") == "1"
            begun = time.perf_counter()
            runner = _runners[key] = Runner(load_network(installed.path), device, precision, installed.weight, compiled)
            log.info("loaded weights %s; %.2f s", installed.weight.name, time.perf_counter() - begun)
            while len(_runners) > MOST_RUNNERS:
                _runners.popitem(last=False)
        _runners.move_to_end(key)
    return runner


def _cat(parts: Sequence[Any]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _finished(output: Tensor) -> Tensor:
    """float32, rows first, memory of its own: a CUDA graph's next run writes over its outputs."""
    return output.to(dtype=torch.float32, memory_format=torch.contiguous_format, copy=True)


def _lock(device: str) -> threading.RLock:
    """One per device: the passes of several threads would take each other's cores and memory."""
    with _registry:
        return _locks.setdefault(device, threading.RLock())


def _sums_by_threads(module: nn.Module) -> bool:
    """Whether its float32 sums on the CPU come out in another order with another number of threads."""
    return isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1))


@contextmanager
def steady_kernels(device: str, thread_bound: bool, threads: int = FIXED_THREADS) -> Iterator[None]:
    """The same bits every time. On CUDA: kernels that are deterministic, chosen by shape and not by timing. On the CPU,
    where it matters: always the same number of threads."""
    if torch.device(device).type == "cuda":
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    elif thread_bound and torch.get_num_threads() != threads:
        before = torch.get_num_threads()
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)
    else:
        yield


def _release(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
