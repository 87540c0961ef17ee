"""The fuzz targets for a minute in all, and proof that each build would notice what it is for."""

from __future__ import annotations

import re
import shutil

import pytest

from fuzz import DEVICE, HERE, TARGETS, build, run

#: Seconds for each target and build: a minute in all.
SECONDS = {"address": 10, "integer": 5}
#: Errors to plant in the library: the build and target that must find each, the file, what stands there, what instead.
PLANTED = {
    "a read beyond the image": (
        "address", "image", "stinger_ml/stinger_image_body.c", "return (uint32_t)(-(child + 1)) < leaves;",
        "return (uint32_t)(-(child + 1)) < leaves + 999u;",
    ),
    "a wrap": (
        "integer", "image", "stinger_ml/stinger_internal.h",
        "step > period && step - period > period / 2u", "step > period + period / 2u",
    ),
    "a model that does not fit": (
        "address", "commands", "boards/common/app_models.c", "    run_builtin(); /* so", "/* so",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz")


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("kind", SECONDS)
def test_no_finding(target, kind, folder):
    said = run(build(target, kind, folder), target, folder, seconds=SECONDS[kind])
    [(runs, seeds)] = re.findall(r"^(\d+) runs from (\d+) seeds in \d+ s, no finding$", said, re.MULTILINE)
    assert int(runs) > 500
    assert int(seeds) == len(list((HERE / "corpus" / target).iterdir()))


@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_error_is_found(name, tmp_path):
    kind, target, file, old, new = PLANTED[name]
    device = shutil.copytree(DEVICE, tmp_path / "device")
    text = (device / file).read_text()
    assert old in text
    (device / file).write_text(text.replace(old, new, 1))
    program = build(target, kind, tmp_path, device)
    with pytest.raises(SystemExit, match="a finding"):
        run(program, target, tmp_path, seconds=60)
    assert (tmp_path / "crash-input").is_file()
