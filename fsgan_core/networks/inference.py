"""Runs networks: every neural engine gives its tensors to a Runner and gets float32 back.

A Runner holds one network that is ready to run: batch norm is folded into the convolutions, memory is channels last,
and the precision is bfloat16 if the device has it (`resolve_precision`). Runners are shared (`get_runner`) and safe to
use from several threads. One pass at a time runs on a device, with all of its cores.

The result of a sample does not depend on the other samples of its batch. On the CPU, samples run one by one, because a
batch gains nothing there. On other devices, the thread that runs next also takes the samples that other threads (which
work on other frames) have queued for the same network, so frames share a pass. The first time a batch has a new size
and shape, its samples run both one by one and together. If all bits are equal, that size is used from then on, else
smaller ones. Tests prove both on the CPU, the second with a network whose samples do depend on each other. On CUDA it
relies on that comparison and on cuDNN's deterministic algorithms, chosen by shape and without timing
(tests/networks/test_cuda.py).

The result does not depend on the number of threads either. 3x3 and 7x7 convolutions, and everything in bfloat16, give
the same bits with 1 to 8 threads (measured and tested). A 1x1 convolution in float32 does not, so in float32 networks
with such layers run on FIXED_THREADS. Another CPU model counts as another kind of device: its bits may differ.
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
from fsgan_core.runtime.memory import register_cache
from fsgan_core.runtime.threads import get_network_threads

if TYPE_CHECKING:
    from fsgan_core.networks.weights.catalogue import WeightsInfo
    from fsgan_core.networks.weights.installed import InstalledWeights

__all__ = ["PRECISIONS", "Runner", "get_runner", "make_runner", "resolve_precision"]

log = logging.getLogger(__name__)

NetworkOutput = Tensor | tuple[Tensor, ...]

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
# CPU instructions that multiply in a precision, by their names in torch.cpu.get_capabilities (x86, ARM).
CPU_INSTRUCTIONS = {"bf16": ("avx512_bf16", "amx_bf16", "bf16", "sve_bf16"), "fp16": ("avx512_fp16", "amx_fp16")}
MAX_RUNNERS = 14  # networks that stay loaded: six of a shot, six of face analysis, and two more to compare with
MAX_SAMPLES = 16  # samples in one pass
FIXED_THREADS = 2  # CPU threads of networks whose bits depend on their number, unless the network has `cpu_threads`

COMPILE_VARIABLE = "FSGAN_COMPILE"  # 1: compile networks with torch.compile

_device_locks: dict[str, threading.RLock] = {}
_runners: OrderedDict[tuple[str, str, str], Runner] = OrderedDict()
_registry_lock = threading.RLock()
register_cache(_runners.clear)


def resolve_precision(device: str = "cpu", precision: str = "auto") -> str:
    """Resolves a precision setting for a device.

    Args:
        device: Such as "cpu" or "cuda:0".
        precision: A key of PRECISIONS, or "auto": bf16 on a CPU with instructions for it (AVX512-BF16, AMX, ARM's) and
            on CUDA from compute capability 8.0; fp16 on CUDA from 7.0; else fp32.

    Returns:
        "fp32", "bf16" or "fp16". On a CPU without instructions for fp16, fp16 becomes fp32.

    Raises:
        ParameterError: The precision is unknown.
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
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name, False) for name in CPU_INSTRUCTIONS[precision])


class Runner:
    """One network that is ready to run; safe to use from several threads. Made by `get_runner` or `make_runner`.

    Attributes:
        device: "cpu", "cuda:0", ...; it becomes "cpu" if the device has not enough memory for one sample.
        precision: "fp32", "bf16" or "fp16".
        info: The facts about the weights; None for a network without an entry in the catalogue.
        takes_half_maps: Whether the input ends with the landmark maps of half size (`res_unet`).
    """

    def __init__(
        self, network: nn.Module, device: str, precision: str, info: WeightsInfo | None = None, compiled: bool = False
    ) -> None:
        """Prepares `network`, which the caller must not use afterwards; precision as in `resolve_precision`."""
        self.info = info
        self.takes_half_maps = bool(getattr(network, "has_half_maps", False))
        self._name = info.name if info is not None else type(network).__name__
        self._waiting_requests: list[_RunRequest] = []
        self._waiting_lock = threading.Lock()
        self._threads = int(getattr(network, "cpu_threads", FIXED_THREADS))
        self._call: Callable[[Tensor], NetworkOutput]
        try:
            self._network: nn.Module = fold_batch_norm(network)
        except Exception as error:  # torch.fx raises nearly anything for what it cannot trace
            log.info("%s runs unchanged: its batch norm cannot be folded (%s)", self._name, error)
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
        """Runs the network.

        Args:
            x: Samples, float32 (n, c, h, w) on any device, n at least 1.

        Returns:
            The network's outputs, float32 on the runner's device.

        Raises:
            MachineError: The machine has not enough memory for one sample.
        """
        request = _RunRequest(x)
        with self._waiting_lock:
            self._waiting_requests.append(request)
        try:
            return self._answer_request(request)
        finally:
            with self._waiting_lock:
                self._waiting_requests.remove(request)

    def _answer_request(self, request: _RunRequest) -> NetworkOutput:
        while True:
            device = self.device
            with _get_device_lock(device):
                if request.answer is not None:  # another thread ran it in its pass
                    return request.answer
                if device != self.device:  # another thread moved the network to the CPU
                    continue
                try:
                    with torch.inference_mode(), use_steady_kernels(device, self._is_thread_bound, self._threads):
                        return self._run_with_waiting(request)
                except torch.OutOfMemoryError as error:
                    if torch.device(device).type == "cpu":
                        height, width = request.x.shape[-2:]
                        raise MachineError(
                            f"{self._name}: not enough memory for a picture of {width} x {height} px "
                            "on the CPU; set a smaller resolution, or use another machine"
                        ) from error
                    self._move_to("cpu", self.precision)
                    log.warning(
                        "%s: %s has not enough memory for one picture; it runs on the CPU from now on",
                        self._name,
                        device,
                    )
                    _release_memory(device)

    def _run_with_waiting(self, request: _RunRequest) -> NetworkOutput:
        """Answers `request` and, in the same pass, waiting requests of the same shape as long as there is room.

        If the shared pass fails, each request gets a pass of its own, and its own error.
        """
        group, room = [request], self._max_samples - len(request.x)
        with self._waiting_lock:
            for other in self._waiting_requests:
                if (
                    other is not request
                    and other.answer is None
                    and len(other.x) <= room
                    and other.x.shape[1:] == request.x.shape[1:]
                ):
                    group.append(other)
                    room -= len(other.x)
        if len(group) == 1:
            return self._run_in_batches(request.x)
        try:
            answer = self._run_in_batches(torch.cat([member.x for member in group]))
        except torch.OutOfMemoryError:
            raise
        except Exception:  # it does not say whose samples are at fault
            return self._run_in_batches(request.x)
        counts = [len(member.x) for member in group]
        outputs = [output.split(counts) for output in (answer if isinstance(answer, tuple) else (answer,))]
        for member, parts in zip(group, zip(*outputs, strict=True), strict=True):
            member.answer = parts if isinstance(answer, tuple) else parts[0]
        assert request.answer is not None
        return request.answer

    def _run_in_batches(self, x: Tensor) -> NetworkOutput:
        answers: list[NetworkOutput] = []
        done = 0
        while done < len(x):
            count = self._choose_batch_size(len(x) - done, x.shape)
            try:
                answers += self._run_batch(x[done : done + count])
            except torch.OutOfMemoryError:
                if count == 1:
                    raise
                self._max_samples = count // 2
                log.warning(
                    "%s: %s has not enough memory for %d pictures at once; at most %d from now on",
                    self._name,
                    self.device,
                    count,
                    self._max_samples,
                )
                _release_memory(self.device)
            else:
                done += count
        if isinstance(answers[0], Tensor):
            return _concatenate(answers)
        return tuple(_concatenate(outputs) for outputs in zip(*answers, strict=True))

    def _choose_batch_size(self, left: int, shape: torch.Size) -> int:
        """Chooses how many samples the next pass takes: a power of two, so that few sizes occur."""
        size = 1 << (min(left, self._max_samples).bit_length() - 1)
        while size > 1 and not self._exact_batches.get((size, *shape[1:]), True):
            size //= 2
        return size

    def _run_batch(self, x: Tensor) -> list[NetworkOutput]:
        if len(x) == 1:
            return [self._run_pass(x)]
        batch_answer, shape = self._run_pass(x), (len(x), *x.shape[1:])
        if shape in self._exact_batches:
            return [batch_answer]
        answers = [self._run_pass(sample) for sample in x.split(1)]
        batch_outputs = batch_answer if isinstance(batch_answer, tuple) else (batch_answer,)
        outputs = [answer if isinstance(answer, tuple) else (answer,) for answer in answers]
        self._exact_batches[shape] = all(
            torch.equal(output, torch.cat(single))
            for output, single in zip(batch_outputs, zip(*outputs, strict=True), strict=True)
        )
        log.debug(
            "%s: %d samples of %s at once: %s bits",
            self._name,
            len(x),
            tuple(x.shape[1:]),
            "the same" if self._exact_batches[shape] else "other",
        )
        return answers

    def _run_pass(self, x: Tensor) -> NetworkOutput:
        x = x.to(device=self.device, dtype=self._dtype).contiguous(memory_format=torch.channels_last)
        answer = self._call(x)
        return tuple(map(_finish_output, answer)) if isinstance(answer, tuple) else _finish_output(answer)


class _RunRequest:
    """Samples (n, c, h, w) that a thread waits for, and the answer after a pass with them."""

    def __init__(self, x: Tensor) -> None:
        self.x = x
        self.answer: NetworkOutput | None = None


class _CompiledNetwork:
    """The network compiled by torch.compile (with CUDA graphs on CUDA), or uncompiled if that fails."""

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
        except Exception as error:  # no compiler, an unknown operation, ...
            if self._call is self._network:
                raise
            log.info("%s is not compiled: %s", self._name, str(error).strip().split("\n")[0])
            self._call = self._network
            result: NetworkOutput = self._call(x)
            return result


def make_runner(network: nn.Module, device: str = "cpu", precision: str = "auto", *, compiled: bool = False) -> Runner:
    """Makes a runner for a network that is not in the catalogue. The network itself is not changed.

    Args:
        network: The network; a copy of it is run.
        device: Such as "cpu" or "cuda:0".
        precision: As in `resolve_precision`.
        compiled: Whether torch.compile is used.

    Raises:
        ParameterError: The precision is unknown.
    """
    return Runner(copy.deepcopy(network), device, precision, compiled=compiled)


def get_runner(installed: InstalledWeights, device: str = "cpu", precision: str = "auto") -> Runner:
    """Returns this process's runner for installed weights. The MAX_RUNNERS most recently used ones stay loaded.

    If the environment variable FSGAN_COMPILE is 1, the network is compiled by torch.compile (with CUDA graphs on CUDA).
    That pays off in long renders only, and its bits differ from those of other machines.

    Args:
        installed: The weights.
        device: Such as "cpu" or "cuda:0".
        precision: As in `resolve_precision`.

    Raises:
        WeightsError: The file is damaged, or its tensors do not fit its architecture.
        ParameterError: The precision is unknown.
    """
    from fsgan_core.networks.weights.checkpoint import load_network

    key = (installed.sha256, str(torch.device(device)), resolve_precision(device, precision))
    with _registry_lock:
        runner = _runners.get(key)
        if runner is None:
            compiled = os.environ.get(COMPILE_VARIABLE, "") == "1"
            start = time.perf_counter()
            network = load_network(installed.path)
            if getattr(network, "takes_maps", False):
                network.has_half_maps = True  # type: ignore[assignment]
            runner = _runners[key] = Runner(network, device, precision, installed.info, compiled)
            log.info("loaded weights %s; %.2f s", installed.info.name, time.perf_counter() - start)
            while len(_runners) > MAX_RUNNERS:
                _runners.popitem(last=False)
        _runners.move_to_end(key)
    return runner


def _concatenate(parts: Sequence[Any]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(list(parts))


def _finish_output(output: Tensor) -> Tensor:
    """Copies to float32 in row order; a copy, because the next run of a CUDA graph overwrites its outputs."""
    return output.to(dtype=torch.float32, memory_format=torch.contiguous_format, copy=True)


def _get_device_lock(device: str) -> threading.RLock:
    """Returns the lock of a device; passes at the same time would compete for its cores and memory."""
    with _registry_lock:
        return _device_locks.setdefault(device, threading.RLock())


def _depends_on_threads(module: nn.Module) -> bool:
    """Whether the order of its float32 sums on the CPU depends on the number of threads."""
    return isinstance(module, nn.Linear) or (isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1))


@contextmanager
def use_steady_kernels(device: str, thread_bound: bool, threads: int = FIXED_THREADS) -> Iterator[None]:
    """Makes results repeat bit for bit while the block runs.

    Args:
        device: On CUDA, cuDNN uses deterministic kernels, chosen by shape and not by timing.
        thread_bound: Whether results on the CPU depend on the number of threads.
        threads: That number, on the CPU, if `thread_bound`.
    """
    if torch.device(device).type == "cuda":
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True, allow_tf32=False):
            yield
    else:
        count, before = threads if thread_bound else get_network_threads(), torch.get_num_threads()
        if count == before:
            yield
            return
        torch.set_num_threads(count)
        try:
            yield
        finally:
            torch.set_num_threads(before)


def _release_memory(device: str) -> None:
    if torch.device(device).type == "cuda":
        torch.cuda.empty_cache()
