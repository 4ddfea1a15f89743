"""When work that nobody asked for is left undone."""

from __future__ import annotations

from pathlib import Path

import pytest

from model_runtime.service.battery import on_battery


def supply(folder: Path, name: str, **said: str) -> None:
    (folder / name).mkdir()
    for key, value in said.items():
        (folder / name / key).write_text(value + "\n")


@pytest.mark.parametrize(
    ("online", "status", "expected"),
    [("0", "Discharging", True), ("1", "Discharging", False), ("1", "Charging", False), ("0", "Full", False)],
)
def test_a_laptop_is_on_battery_when_it_is_unplugged(tmp_path: Path, online: str, status: str, expected: bool) -> None:
    supply(tmp_path, "AC", type="Mains", online=online)
    supply(tmp_path, "BAT0", type="Battery", status=status)
    assert on_battery(tmp_path) is expected


def test_the_battery_of_a_mouse_and_no_battery_at_all_do_not_count(tmp_path: Path) -> None:
    assert not on_battery(tmp_path)
    assert not on_battery(tmp_path / "nowhere")
    supply(tmp_path, "hidpp_battery_0", type="Battery", scope="Device", status="Discharging")
    assert not on_battery(tmp_path)
