"""File names of wheels, and which host they fit."""

import pytest

from bundleformat.errors import MalformedError, RefusalError
from bundleformat.wheel import (
    WheelHost,
    check_fits,
    needed_glibc,
    parse_wheel_name,
    same_version,
)

HOST = WheelHost(python="3.11", glibc="2.31")


@pytest.mark.parametrize(
    "filename",
    [
        "",
        "demo.whl",
        "demo-1.0.whl",
        "demo-1.0-py3-none-any.zip",
        "demo-1.0-py3-none-any.whl.whl-x",
        "../demo-1.0-py3-none-any.whl",
        "demo-one-py3-none-any.whl",
        "demo-1.0-py3-none-Any.whl",
        "demo-1.0-x-py3-none-any.whl",
        "demo-1.0-py3--any.whl",
        "demo\n-1.0-py3-none-any.whl",
        "demo-1.0-" + ".".join(["py3"] * 70) + "-none-any.whl",
    ],
)
def test_what_is_no_wheel_name_is_malformed(filename: str) -> None:
    with pytest.raises(MalformedError):
        parse_wheel_name(filename)


@pytest.mark.parametrize(
    "tag",
    [
        "cp310-cp310-manylinux_2_17_x86_64",
        "cp312-abi3-manylinux_2_17_x86_64",
        "cp311-cp311-manylinux_2_34_x86_64",
        "cp311-cp311-musllinux_1_1_x86_64",
        "cp311-cp311-manylinux_2_17_aarch64",
        "cp311-cp311-win_amd64",
        "py2-none-any",
        "py312-none-any",
        "pp311-none-any",
    ],
)
def test_a_wheel_for_another_host_is_refused(tag: str) -> None:
    name = parse_wheel_name(f"demo-1.0-{tag}.whl")
    with pytest.raises(RefusalError) as caught:
        check_fits(name, HOST)
    assert caught.value.where == name.filename


@pytest.mark.parametrize(
    "tag",
    [
        "py3-none-any",
        "py2.py3-none-any",
        "py310-none-any",
        "cp311-none-any",
        "cp39-abi3-manylinux2014_x86_64",
        "cp311-cp311-manylinux_2_31_x86_64",
        "cp311-cp311-manylinux_2_17_x86_64.manylinux_2_34_x86_64",
        "py3-none-linux_x86_64",
    ],
)
def test_a_wheel_for_this_host_fits(tag: str) -> None:
    check_fits(parse_wheel_name(f"demo-1.0-{tag}.whl"), HOST)


def test_parts_of_a_name() -> None:
    name = parse_wheel_name(
        "Ruamel.Yaml-1.0+cpu-2-cp311-cp311-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
    )
    assert (name.distribution, name.version, name.build) == (
        "ruamel-yaml",
        "1.0+cpu",
        "2",
    )
    assert needed_glibc(name) == "2.17"
    assert name.artifact.startswith("ruamel.yaml-1.0+cpu-2-cp311")


def test_versions_are_compared_as_numbers() -> None:
    assert same_version("2024.2.2", "2024.02.02")
    assert not same_version("1.0", "1.0.1")
