"""What the machine leaves, over made-up trees of /proc and /sys."""

from pathlib import Path

import pytest

from appliance.engine.planning.ceilings import (
    available_bytes,
    group_paths,
    mounts,
    read_ceilings,
)
from bundleformat.errors import InternalFaultError

MEMINFO = "MemTotal:       9000 kB\nMemFree:   10 kB\nMemAvailable:   8000 kB\n"
NEW = "0::/a/b\n"
OLD = "7:cpu,memory:/a/b\n3:freezer:/x\n0::/\n"
NEW_MOUNT = "31 23 0:28 / /cg rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
OLD_MOUNT = "35 31 0:32 / /cg rw - cgroup cgroup rw,memory\n"
MIB = 2**20


def tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def left(root: Path) -> list[int]:
    return [ceiling.left_bytes for ceiling in read_ceilings(root)]


def host(*, cgroup: str = "", mountinfo: str = "", **groups: str) -> dict[str, str]:
    return {
        "proc/meminfo": MEMINFO,
        "proc/self/cgroup": cgroup,
        "proc/self/mountinfo": mountinfo,
        **groups,
    }


def test_a_machine_that_does_not_say_what_is_available_is_a_fault(
    tmp_path: Path,
) -> None:
    for files in ({}, {"proc/meminfo": "MemFree: 1 kB\n"}):
        with pytest.raises(InternalFaultError):
            read_ceilings(tree(tmp_path, files))


@pytest.mark.parametrize("text", ["", "lots\n", "-5\n", "5 MiB", "٣\n"])
def test_a_limit_that_is_no_number_is_a_fault(tmp_path: Path, text: str) -> None:
    files = host(cgroup=NEW, mountinfo=NEW_MOUNT) | {"cg/a/memory.max": text}
    with pytest.raises(InternalFaultError) as caught:
        read_ceilings(tree(tmp_path, files))
    assert caught.value.where.endswith("cg/a/memory.max")


def test_a_limit_without_a_usage_is_a_fault(tmp_path: Path) -> None:
    files = host(cgroup=NEW, mountinfo=NEW_MOUNT) | {"cg/a/memory.max": "5\n"}
    with pytest.raises(InternalFaultError) as caught:
        read_ceilings(tree(tmp_path, files))
    assert caught.value.where.endswith("cg/a/memory.current")


def test_without_control_groups_only_the_machine_counts(tmp_path: Path) -> None:
    files = host()
    del files["proc/self/cgroup"], files["proc/self/mountinfo"]
    (ceiling,) = read_ceilings(tree(tmp_path, files))
    assert ceiling.name == "available memory"
    assert ceiling.left_bytes == 8_000 * 1_024


def test_every_group_on_the_way_up_counts(tmp_path: Path) -> None:
    files = host(cgroup=NEW, mountinfo=NEW_MOUNT) | {
        "cg/a/b/memory.max": "max\n",
        "cg/a/b/memory.high": f"{6 * MIB}\n",
        "cg/a/b/memory.current": f"{MIB}\n",
        "cg/a/memory.max": f"{9 * MIB}\n",
        "cg/a/memory.current": f"{5 * MIB}\n",
        "cg/memory.max": f"{90 * MIB}\n",
        "cg/memory.current": f"{50 * MIB}\n",
        "cg/a/b/c/memory.max": "1\n",
        "cg/a/d/memory.max": "1\n",
    }
    root = tree(tmp_path, files)
    assert left(root)[1:] == [5 * MIB, 4 * MIB, 40 * MIB]
    names = [ceiling.name for ceiling in read_ceilings(root)[1:]]
    assert [name.rpartition(" ")[2] for name in names] == ["/a/b", "/a", "/"]


def test_pages_of_files_count_as_free(tmp_path: Path) -> None:
    files = host(cgroup=NEW, mountinfo=NEW_MOUNT) | {
        "cg/a/memory.max": f"{9 * MIB}\n",
        "cg/a/memory.current": f"{8 * MIB}\n",
        "cg/a/memory.stat": (
            f"anon 5\nfile {4 * MIB}\ninactive_file {3 * MIB}\nactive_file {MIB}\nodd\n"
        ),
    }
    assert left(tree(tmp_path, files))[1:] == [5 * MIB]


def test_a_group_may_be_over_its_limit(tmp_path: Path) -> None:
    files = host(cgroup=NEW, mountinfo=NEW_MOUNT) | {
        "cg/a/memory.high": "5\n",
        "cg/a/memory.current": "9\n",
    }
    assert left(tree(tmp_path, files))[1:] == [-4]


def test_groups_of_version_1_count_and_their_lack_of_a_limit_does_not(
    tmp_path: Path,
) -> None:
    files = host(cgroup=OLD, mountinfo=OLD_MOUNT) | {
        "cg/a/b/memory.limit_in_bytes": f"{4 * MIB}\n",
        "cg/a/b/memory.usage_in_bytes": f"{2 * MIB}\n",
        "cg/a/b/memory.stat": "total_inactive_file 7\ninactive_file 9\n",
        "cg/a/memory.limit_in_bytes": "9223372036854771712\n",
        "cg/a/memory.usage_in_bytes": "1\n",
    }
    assert left(tree(tmp_path, files))[1:] == [2 * MIB + 7]


def test_a_container_sees_its_own_group_at_the_mount(tmp_path: Path) -> None:
    mount = "35 31 0:32 /docker/x /sys\\040fs/cg rw - cgroup cgroup rw,memory\n"
    files = host(cgroup="4:memory:/docker/x\n", mountinfo=mount) | {
        "sys fs/cg/memory.limit_in_bytes": "50\n",
        "sys fs/cg/memory.usage_in_bytes": "20\n",
    }
    assert left(tree(tmp_path, files))[1:] == [30]


@pytest.mark.parametrize("path", ["/elsewhere", "/../../a", "a", "/docker/x/../.."])
def test_a_group_that_is_not_below_the_mount_is_looked_for_no_further(
    tmp_path: Path, path: str
) -> None:
    mount = "35 31 0:32 /docker/x /cg/deep rw - cgroup2 none rw\n"
    files = host(cgroup=f"0::{path}\n", mountinfo=mount) | {
        "cg/deep/memory.max": "50\n",
        "cg/deep/memory.current": "20\n",
        "cg/memory.max": "1\n",
        "cg/memory.current": "1\n",
    }
    assert left(tree(tmp_path, files))[1:] == [30]


def test_lines_of_another_shape_are_passed_over() -> None:
    assert list(group_paths("\nx\n5:memoryx:/a\n1:memory:/b:c\n")) == [(False, "/b:c")]
    assert list(mounts("a b\n\n1 2 3 / /p rw - cgroup2\n1 2 3 - cgroup2 a rw\n")) == []


def test_available_memory_is_in_kibibytes() -> None:
    assert available_bytes(MEMINFO) == 8_000 * 1_024


def test_this_machine_says_what_it_leaves() -> None:
    assert all(ceiling.left_bytes > 0 for ceiling in read_ceilings())
