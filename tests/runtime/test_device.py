"""Which device networks run on."""

from __future__ import annotations

import pytest

from fsgan_core.contract.errors import EngineError, InputError
from fsgan_core.runtime import device
from fsgan_core.runtime.device import choose_device, list_devices


class TestDevice:
    def test_cpu_is_always_there(self) -> None:
        assert choose_device("cpu") == "cpu" and list_devices()[-1] == "cpu"
        assert choose_device("auto") in list_devices()

    def test_what_is_not_there(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(device, "list_devices", lambda: ("cuda:0", "cpu"))
        assert choose_device("auto") == choose_device("cuda") == "cuda:0"
        with pytest.raises(EngineError, match="torch finds cuda:0, cpu"):
            choose_device("cuda:1")
        with pytest.raises(InputError, match="abacus"):
            choose_device("abacus")
        with pytest.raises(InputError, match="None"):
            choose_device(None)  # type: ignore[arg-type]
