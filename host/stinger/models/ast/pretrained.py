"""Where a transformer's weights come from: a folder, a model's file, or by name from the HuggingFace hub.

The hub is asked once and not for long: where it cannot be reached, a name that was fetched before still works, and any
other is one line. `HF_TOKEN`, `HF_HOME`, `HF_ENDPOINT` and `HF_HUB_OFFLINE` mean what they mean to HuggingFace's own
tools.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stinger.errors import InputError
from stinger.models.ast.folder import CONFIG, EXTRACTOR, WEIGHTS, Checked, check_folder
from stinger.models.ast.libraries import load_transformers
from stinger.models.ast.model import found_in
from stinger.models.ast.tarball import opened_tarball

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_FILES = (CONFIG, WEIGHTS, EXTRACTOR)
#: Seconds that the hub has to answer.
_PATIENCE_S = 10.0


@contextmanager
def pretrained(start: str) -> Iterator[Checked]:
    """Have a model's checked folder while the block runs.

    Args:
        start: A folder, a ``.model.tar.gz``, or a name on the hub.

    Raises:
        InputError: It is not there, cannot be reached, or is not what it should be.
    """
    path = Path(start).expanduser()
    if path.is_file():
        with opened_tarball(path) as folder:
            yield check_folder(folder)
    elif path.exists():
        yield check_folder(found_in(path) or path)
    elif _NAME.fullmatch(start) and not start.startswith((".", "/", "~")):
        yield check_folder(fetch(start))
    else:
        raise InputError(f"--pretrained {start}: no such folder or file, and no name like OWNER/MODEL; correct it")


def fetch(name: str) -> Path:
    """Return the folder of a model of that name on this machine, fetching it where it is not there yet.

    Raises:
        InputError: The hub cannot be reached, or has no such model.
        UsageError: The extra `ast` is missing.
    """
    load_transformers()
    hub = importlib.import_module("huggingface_hub")
    errors = importlib.import_module("huggingface_hub.errors")
    hub.utils.disable_progress_bars()
    instead = "give a local folder with --pretrained, or train from nothing with --from-scratch tiny"
    wanted = list(_FILES)
    try:
        return Path(hub.snapshot_download(name, allow_patterns=wanted, local_files_only=True))
    except (errors.LocalEntryNotFoundError, OSError, ValueError):
        pass  # not fetched yet
    try:
        # Asked first, with our own patience: fetching would try again and again.
        hub.HfApi().model_info(name, timeout=_PATIENCE_S)
        return Path(hub.snapshot_download(name, allow_patterns=wanted, etag_timeout=_PATIENCE_S))
    except errors.RepositoryNotFoundError as error:
        raise InputError(
            f"the HuggingFace hub has no model {name}, or shows it only with HF_TOKEN; {instead}"
        ) from error
    except Exception as error:  # what its HTTP library raises has no root of its own, and changes with its versions
        why = " ".join(str(error).split())[:80] or type(error).__name__
        raise InputError(f"cannot fetch {name} from the HuggingFace hub ({why}); {instead}") from error
