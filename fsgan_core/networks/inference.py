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
from fsgan_core.networks.fold import fold_batch_norm

if TYPE_CHECKING:
    from fsgan_core.networks.weights.catalogue import InstalledWeights, WeightsInfo

__all__ = ["PRECISIONS", "Runner", "get_runner", "make_runner", "resolve_precision"]

log = logging.getLogger(__name__)

NetworkOutput = Tensor | tuple[Tensor, ...]

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# Instructions that multiply in that precision, as torch.cpu.get_capabilities names them (x86, ARM).
CPU_INSTRUCTIONS = {"bf16": ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"), "fp16": ("avx512_fp16", "amx_fp16")}
MAX_RUNNERS = 8  # kept loaded: the six networks of a shot and two to change to
MAX_SAMPLES = 16  # in one pass
FIXED_THREADS = 2  # where bits would follow the number of threads

COMPILE_VARIABLE = "FSGAN_COMPILE"

_device_locks: dict[str, threading.RLock] = {}
_runners: OrderedDict[tuple[str, str, str], Runner] = OrderedDict()
_registry_lock = threading.RLock()


def resolve_precision(device: str = "cpu", precision: str = "auto") -> str:
    """Resolves `precision` on that device to "fp32", "bf16" or "fp16".

    "auto" is bf16 on a CPU with instructions for it (AVX512-BF16, AMX, ARM's) and on CUDA from compute capability 8.0;
    fp16 on CUDA from 7.0; else fp32. fp16 is refused to a CPU without instructions for it: fp32 then.
    Raises ParameterError for another name.
    """
    if precision not in ("auto", *PRECISIONS):
        raise ParameterError(f"weights.precision {precision!r} is not known; it is auto, {', '.join(PRECISIONS)}")
    kind = torch.device(device).type
    if kind == "cpu":
        if precision == "auto":
            return "bf16" if _cpu_supports("bf16") else "fp32"
        return "fp32" if precision == "fp16" and not _cpu_supports("fp16") else precision
    if precision != "auto":
        return precision
    if kind == "cuda":
        capability = torch.cuda.get_device_capability(device)
        return "bf16" if capability >= (8, 0) else "fp16" if capability >= (7, 0) else "fp32"
    return "fp32"


def _cpu_supports(precision: str) -> bool:
    there = torch.cpu.get_capabilities()
    return any(there.get(name, False) for name in CPU_INSTRUCTIONS[precision])


class Runner:
    """One network ready to run, safe to use from several threads. Made by `runner_for` or `load_runner`.

    device: "cpu", "cuda:0", ...; it becomes "cpu" when the device's memory does not do for one sample.
    precision: "fp32", "bf16" or "fp16". weight: what the catalogue says of the weights, None where it says nothing.
    """

    def __init__(
        self, network: nn.Module, device: str, precision: str, info: WeightsInfo | None = None, compiled: bool = False
    ) -> None:
        """Takes `network` over; precision as in `resolve_precision`."""
        self.info = info
        self._name = info.name if info is not None else type(network).__name__
        self._waiting_requests: list[_RunRequest] = []
        self._waiting_lock = threading.Lock()
        self._call: Callable[[Tensor], NetworkOutput]
        try:
            self._network: nn.Module = fold_batch_norm(network)
        except Exception as error:  # torch.fx raises nearly anything for what it cannot trace
            log.info("%s runs as it is, its batch norm is not folded (%s)", self._name, error)
            self._network = network.eval().requires_grad_(False)
        self._move_to(device, precision)
        if compiled:
            self._call = _CompiledNetwork(self._network, self._name, self.device)

    def _move_to(self, device: str, precision: str) -> None:
        self.device = str(torch.device(device))
        self.precision = resolve_precision(device, precision)
        self._dtype = PRECISIONS[self.precision]
        self._network.to(device=device, dtype=self._dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._call = self._network
        self._max_samples = 1 if torch.device(device).type == "cpu" else MAX_SAMPLES
        self._exact_batches: dict[tuple[int, ...], bool] = {}
        self._is_thread_bound = self.precision == "fp32" and any(map(_depends_on_threads, self._network.modules()))

    def run(self, x: Tensor) -> NetworkOutput:
        """float32 (n, c, h, w) on any device, n at least 1 -> what the network gives, float32 on the runner's device.

        Raises MachineError: the machine's memory does not do for one sample.
        """
        asked = _RunRequest(x)
        with self._waiting_lock:
            self._waiting_requests.append(asked)
        try:
            return self._answer_request(asked)
        finally:
            with self._waiting_lock:
                self._waiting_requests.remove(asked)

    def _answer_request(self, asked: _RunRequest) -> NetworkOutput:
        while True:
            device = self.device
            with _get_device_lock(device):
                if asked.answer is not None:  # another thread took it along
                    return asked.answer
                if device != self.device:  # another thread moved it
                    continue
                try:
                    with torch.inference_mode(), use_steady_kernels(device, self._is_thread_bound):
                        return self._run_with_waiting(asked)
                except torch.OutOfMemoryError as error:
                    if torch.device(device).type == "cpu":
                        height, width = asked.x.shape[-2:]
                        raise MachineError(
                            f"{self._name}: not enough memory for a picture of {width} x {height} px "
                            "on the CPU; set a smaller resolution, or use another machine"
                        ) from error
                    self._move_to("cpu", self.precision)
                    log.warning(
                        "%s: the memory of %s does not do for one picture; it runs on the CPU from now on",
                        self._name,
                        device,
                    )
                    _release_memory(device)

    def _run_with_waiting(self, asked: _RunRequest) -> NetworkOutput:
        """The answer to `asked`; others that wait for pictures of the same shape are answered in the same pass, as
        many as it has room for. Where that pass fails, each has a pass of its own, and its own error."""
        company, room = [asked], self._max_samples - len(asked.x)
        with self._waiting_lock:
            for other in self._waiting_requests:
                if (
                    other is not asked
                    and other.answer is None
                    and len(other.x) <= room
                    and other.x.shape[1:] == asked.x.shape[1:]
                ):
                    company.append(other)
                    room -= len(other.x)
        if len(company) == 1:
            return self._run_in_batches(asked.x)
        try:
            answer = self._run_in_batches(torch.cat([one.x for one in company]))
        except torch.OutOfMemoryError:
            raise
        except Exception:  # whose samples it was does not show
            return self._run_in_batches(asked.x)
        counts = [len(one.x) for one in company]
        outputs = [output.split(counts) for output in (answer if isinstance(answer, tuple) else (answer,))]
        for one, parts in zip(company, zip(*outputs, strict=True), strict=True):
            one.answer = parts if isinstance(answer, tuple) else parts[0]
        assert asked.answer is not None
        return asked.answer

    def _run_in_batches(self, x: Tensor) -> NetworkOutput:
        answers: list[NetworkOutput] = []
        done = 0
        while done < len(x):
            part = self._choose_batch_size(len(x) - done, x.shape)
            try:
                answers += self._run_batch(x[done : done + part])
            except torch.OutOfMemoryError:
                if part == 1:
                    raise
                self._max_samples = part // 2
                log.warning(
                    "%s: the memory of %s does not do for %d pictures at once; at most %d from now on",
                    self._name,
                    self.device,
                    part,
                    self._max_samples,
                )
                _release_memory(self.device)
            else:
                done += part
        if isinstance(answers[0], Tensor):
            return _concatenate(answers)
        return tuple(_concatenate(outputs) for outputs in zip(*answers, strict=True))

    def _choose_batch_size(self, left: int, shape: torch.Size) -> int:
        """How many samples the next pass takes: a power of two, so that few sizes are met."""
        size = 1 << (min(left, self._max_samples).bit_length() - 1)
        while size > 1 and not self._exact_batches.get((size, *shape[1:]), True):
            size //= 2
        return size

    def _run_batch(self, x: Tensor) -> list[NetworkOutput]:
        if len(x) == 1:
            return [self._run_pass(x)]
        together, judged = self._run_pass(x), (len(x), *x.shape[1:])
        if judged in self._exact_batches:
            return [together]
        alone = [self._run_pass(one) for one in x.split(1)]
        whole = together if isinstance(together, tuple) else (together,)
        single = [one if isinstance(one, tuple) else (one,) for one in alone]
        self._exact_batches[judged] = all(
            torch.equal(output, torch.cat(ones)) for output, ones in zip(whole, zip(*single, strict=True), strict=True)
        )
        log.debug(
            "%s: %d samples of %s at once: %s bits",
            self._name,
            len(x),
            tuple(x.shape[1:]),
            "the same" if self._exact_batches[judged] else "other",
        )
        return alone

    def _run_pass(self, x: Tensor) -> NetworkOutput:
        x = x.to(device=self.device, dtype=self._dtype).contiguous(memory_format=torch.channels_last)
        answer = self._call(x)
        return tuple(map(_finish_output, answer)) if isinstance(answer, tuple) else _finish_output(answer)


class _RunRequest:
    """Samples that a thread waits for, (n, c, h, w), and the answer once a pass has been run with them."""

    def __init__(self, x: Tensor) -> None:
        self.x = x
        self.answer: NetworkOutput | None = None


class _CompiledNetwork:
    """The network through torch.compile: CUDA graphs on CUDA. Where that fails, as it is."""

    def __init__(self, network: nn.Module, name: str, device: str) -> None:
        mode = "reduce-overhead" if torch.device(device).type == "cuda" else "default"
        self._network = network
        self._name = name
        self._call: Callable[[Tensor], NetworkOutput] = torch.compile(network, mode=mode, dynamic=False)

    def __call__(self, x: Tensor) -> NetworkOutput:
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


def make_runner(network: nn.Module, device: str = "cpu", precision: str = "auto", *, compiled: bool = False) -> Runner:
    """A runner of its own for a network without a catalogue entry, which is left as it is. Raises ParameterError."""
    return Runner(copy.deepcopy(network), device, precision, compiled=compiled)


def get_runner(installed: InstalledWeights, device: str = "cpu", precision: str = "auto") -> Runner:
    """The process's runner for those weights; the MOST_RUNNERS last used are kept loaded.

    With the environment variable FSGAN_COMPILE=1 it is compiled by torch.compile (CUDA graphs on CUDA): worth it for
    long renders only, and its bits are not those of other machines. Raises WeightsError, ParameterError.
    """
    from fsgan_core.networks.weights.checkpoint import load_network

    key = (installed.sha256, str(torch.device(device)), resolve_precision(device, precision))
    with _registry_lock:
        runner = _runners.get(key)
        if runner is None:
            compiled = os.environ.get(COMPILE_VARIABLE, "") == "1"
            begun = time.perf_counter()
            runner = _runners[key] = Runner(load_network(installed.path), device, precision, installed.info, compiled)
            log.info("loaded weights %s; %.2f s", installed.info.name, time.perf_counter() - begun)
            while len(_runners) > MAX_RUNNERS:
                _runners.popitem(last=False)
        _runners.move_to_end(key)
    return runner


def _concatenate(parts: Sequence[Any]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _finish_output(output: Tensor) -> Tensor:
    """float32, rows first, memory of its own: a CUDA graph's next run writes over its outputs."""
    return output.to(dtype=torch.float32, memory_format=torch.contiguous_format, copy=True)


def _get_device_lock(device: str) -> threading.RLock:
    """One per device: the passes of several threads would take each other's cores and memory."""
    with _registry_lock:
        return _device_locks.setdefault(device, threading.RLock())


def _depends_on_threads(module: nn.Module) -> bool:
    """Whether its float32 sums on the CPU come out in another order with another number of threads."""
    return isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1))


@contextmanager
def use_steady_kernels(device: str, thread_bound: bool, threads: int = FIXED_THREADS) -> Iterator[None]:
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


def _release_memory(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
