import pytest

from bundler.cli.output import meter
from bundler.progress import BarMeter, LineMeter, SilentMeter, size


@pytest.mark.parametrize(
    ("count_bytes", "text"),
    [
        (0, "0 bytes"),
        (1_023, "1023 bytes"),
        (1_536, "1.5 KiB"),
        (2**30, "1.0 GiB"),
        (3 * 2**40, "3.0 TiB"),
    ],
)
def test_sizes_are_written_for_reading(count_bytes: int, text: str) -> None:
    assert size(count_bytes) == text


def test_a_log_gets_bytes_rate_and_time_left(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = LineMeter(interval_s=0)
    shown.stage("Copying m", 2_048)
    shown.advance(1_024)
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("Copying m: 1.0 KiB of 2.0 KiB, ")
    assert err.endswith(" s left\n")


def test_short_work_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with meter(as_json=False) as shown:
        shown.stage("Copying m", 10)
        shown.advance(10)
    assert capsys.readouterr() == ("", "")


def test_json_output_has_no_progress() -> None:
    with meter(as_json=True) as shown:
        assert isinstance(shown, SilentMeter)


def test_a_bar_moves_from_stage_to_stage(capsys: pytest.CaptureFixture[str]) -> None:
    with BarMeter() as bar:
        bar.stage("Copying m", 10)
        bar.advance(10)
        bar.stage("Verifying", 10)
        bar.advance(5)
    assert capsys.readouterr().out == ""
