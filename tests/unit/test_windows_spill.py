"""Windows in files: the same values, in memory only while they are looked at."""

from pathlib import Path

import numpy as np

from stinger.synth.shots import make_session
from stinger.windows.explore import assemble, cut_session
from stinger.windows.spec import preset
from stinger.windows.spill import Spill, unload
from stinger.windows.store import write_dataset


def resident_bytes() -> int:
    """Pages of files that are mapped into this process now."""
    status = Path("/proc/self/status").read_text("ascii").splitlines()
    return next(int(line.split()[1]) for line in status if line.startswith(("RssFile", "RssShmem"))) * 1024


def test_kept_arrays_have_the_same_values():
    rng = np.random.default_rng(0)
    arrays = [rng.integers(-32768, 32768, (n, 7, 3)).astype(np.int16) for n in (5, 0, 1000)]
    with Spill() as spill:
        kept = [spill.keep(array) for array in arrays]
        made = spill.empty((3, 2))
        made[:] = 7
        for array in (*kept, made):
            unload(array)
        assert all((a == b).all() for a, b in zip(kept, arrays, strict=True))
        assert (made == 7).all()
        assert [a.shape for a in kept] == [a.shape for a in arrays]
        assert spill.empty((0, 5)).shape == (0, 5)


def test_unloading_gives_the_memory_back():
    with Spill() as spill:
        big = spill.empty((64, 2**20))  # 128 MiB
        big[:] = 1
        loaded = resident_bytes()
        unload(big)
        assert resident_bytes() < loaded - 100 * 2**20
        assert big[63, -1] == 1
    unload(np.zeros(3))  # nothing to do


def test_a_spilled_dataset_is_written_with_the_same_bytes(tmp_path):
    spec = preset("personal")
    cuts = [cut_session(make_session(seed, 2.0)[0], spec, i) for i, seed in enumerate((1, 2))]
    write_dataset(assemble(cuts, spec), tmp_path / "memory")
    with Spill() as spill:
        write_dataset(assemble(cuts, spec, spill), tmp_path / "files")
    for name in ("windows_i16le.bin", "labels_u8.bin", "meta.json", "index.csv"):
        assert (tmp_path / "files" / name).read_bytes() == (tmp_path / "memory" / name).read_bytes()
