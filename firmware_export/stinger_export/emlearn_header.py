"""A trained model as a C header made with emlearn, for firmware that already uses emlearn.

The header takes the exact integer features. emlearn is used for what it is good at, and around its traps:

- Its trees compare ``x < t`` where scikit-learn compares ``x <= t``; on integers ``floor(t) + 1`` is the same split.
- Its leaves are bytes. It would divide them by 255 after rounding them down; here they hold 1/128, in which forests
  are trained (`stinger.models.families`), and the divisor in the generated text is changed to match. Sums of these
  are exact in float, so where classes tie they tie as in the estimator.
- It prints weights with six decimals. They are handed over as a float that formats itself with nine digits.
- It has no scaler and fails on a single layer: the wrapper scales, and a logistic regression gets a second layer
  that only applies the activation.
- Importing it makes NumPy raise on every rounding to zero; that is undone.
"""

from __future__ import annotations

import copy
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stinger.errors import InputError, ToolchainError
from stinger.files import write_text
from stinger.models.families import LEAF_STEPS
from stinger.models.spec import ModelSpec, TrainedModel
from stinger_export.forms import is_boosted, is_convolution, is_forest, portable
from stinger_export.toolchain import compile_host

with np.errstate():
    # emlearn.bayes calls numpy.seterr(all="raise") when imported; leaving the block restores the state.
    import emlearn
    from emlearn import net, trees

_RUN_TIMEOUT_S = 60.0


@dataclass(frozen=True)
class EmlearnHeader:
    """A generated header.

    Attributes:
        name: The model's name; the header defines ``stinger_<name>_predict_proba``.
        header_text: The header, ASCII.
        kind: ``trees`` (needs only <stdint.h>) or ``net`` (needs emlearn's headers and libm).
        features: Length of the feature vector.
        classes: Number of probabilities.
    """

    name: str
    header_text: str
    kind: str
    features: int
    classes: int


def include_dir() -> Path:
    """Return the folder of emlearn's own C headers."""
    return Path(emlearn.includedir)


def emlearn_takes(spec: ModelSpec) -> bool:
    """Whether emlearn knows this kind of model."""
    return not (is_boosted(spec) or is_convolution(spec))


def to_emlearn(model: TrainedModel) -> EmlearnHeader:
    """Generate the header of a trained model.

    Returns:
        The header. The same model gives the same text. Trees give the estimator's probabilities to float32 rounding
        and the same label for every window; networks compute in float32.

    Raises:
        InputError: The family or its features cannot be exported, or a number does not fit its C type.
    """
    spec = model.spec
    form = portable(model)
    if not emlearn_takes(spec):
        kinds = "boosted trees" if is_boosted(spec) else "convolutions"
        raise InputError(
            f"model {spec.name} has no emlearn header: emlearn knows no {kinds} ({spec.family}); "
            "train rf or et for emlearn"
        )
    kind, body = ("trees", _trees(spec, form)) if is_forest(spec) else ("net", _net(spec, form))
    guard = f"STINGER_{spec.name.upper()}_H"
    text = f"{_comment(spec, kind)}#ifndef {guard}\n#define {guard}\n\n{body}\n#endif\n"
    text = "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
    return EmlearnHeader(spec.name, text, kind, len(spec.feature_set), len(spec.classes))


def run_emlearn(
    header: EmlearnHeader, features: NDArray[np.int16], work_dir: Path
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Compile the header for this computer and run it.

    Args:
        header: What `to_emlearn` made.
        features: Integer feature vectors, int16, shape ``(n, features)``.
        work_dir: Where the header, a small main program and the executable go.

    Returns:
        Labels int64 ``(n,)`` (largest probability, ties to the lower index) and probabilities float32
        ``(n, classes)``, as C computed them.

    Raises:
        InputError: The features have another shape or type.
        ToolchainError: There is no compiler, it refuses the header, or the program fails.
    """
    if features.dtype != np.int16 or features.shape[1:] != (header.features,):
        raise InputError(
            f"{header.name} needs int16 features of shape (n, {header.features}), got {features.dtype}{features.shape}"
        )
    source, program = work_dir / f"{header.name}_main.c", work_dir / f"{header.name}_main"
    write_text(work_dir / f"{header.name}.h", header.header_text)
    write_text(source, _MAIN.format(name=header.name, features=header.features, classes=header.classes))
    compile_host([source], program, include=[work_dir, include_dir()], strict=False, libraries=["m"])
    try:
        result = subprocess.run(
            [program],
            input=np.ascontiguousarray(features).tobytes(),
            capture_output=True,
            check=False,
            timeout=_RUN_TIMEOUT_S,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise ToolchainError(f"{program} does not run here: {error}; check the compiler") from error
    if result.returncode != 0 or len(result.stdout) != 4 * len(features) * header.classes:
        raise ToolchainError(f"the emlearn header of {header.name} failed (exit {result.returncode}); export it again")
    probability = np.frombuffer(result.stdout, np.float32).reshape(len(features), header.classes)
    return np.argmax(probability, axis=1).astype(np.int64), probability


_MAIN = """\
#include <stdio.h>
#include "{name}.h"

/* Reads feature vectors, writes probabilities. */
int main(void)
{{
    int16_t features[{features}];
    float out[{classes}];
    while (fread(features, sizeof features, 1, stdin) == 1) {{
        if (stinger_{name}_predict_proba(features, out) != 0 || fwrite(out, sizeof out, 1, stdout) != 1) {{
            return 1;
        }}
    }}
    return 0;
}}
"""


def _comment(spec: ModelSpec, kind: str) -> str:
    """Head comment: what the model is and how to call it. Names from data are cut to harmless characters."""
    features = "\n".join(f" *   {i:3} {_plain(n)}" for i, n in enumerate(spec.feature_set.names))
    classes = "\n".join(f" *   {i:3} {_plain(n)}" for i, n in enumerate(spec.classes))
    needs = (
        "Needs nothing but <stdint.h>; keeps no state."
        if kind == "trees"
        else "Needs emlearn's headers on the include path and libm. Its buffers are static: one caller at a time."
    )
    return f"""\
/*
 * Model {spec.name} ({spec.family}, {spec.features} features of {spec.window} samples, {spec.period_us} us apart),
 * trained on dataset {_plain(spec.data_hash)[:16]}.
 * Generated by stinger with emlearn {emlearn.__version__}; do not edit.
 *
 *   int stinger_{spec.name}_predict_proba(const int16_t *features, float *out);
 *
 * features: {len(spec.feature_set)} integer features, in the order below, as stinger_ml computes them.
 * out: {len(spec.classes)} probabilities, in the order of the classes. The label is the first largest one.
 * Returns 0, or an EmlError. {needs}
 * emlearn's functions have external linkage: include this header in one C file only.
 *
 * Features:
{features}
 * Classes:
{classes}
 */
"""


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9 _.|+-]", "?", text)


def _trees(spec: ModelSpec, forest: Any) -> str:
    prefix, classes = f"emlearn_{spec.name}", len(spec.classes)
    forest = copy.deepcopy(forest)
    for estimator in forest.estimators_:
        tree = estimator.tree_
        inner = tree.children_left != -1
        split = np.floor(tree.threshold[inner]) + 1
        if (split > 32767).any():
            raise InputError(f"{spec.name} splits above every int16 feature; train it on integer features")
        # Below the smallest int16 nothing is smaller still: -32768 says the same.
        tree.threshold[inner] = np.maximum(split, -32768)
        # emlearn makes floor(round(254 * p) * 255 / 254) of a leaf's p, which is k for p = k / 254.
        tree.value[:, 0, :] = np.rint(tree.value[:, 0, :] * LEAF_STEPS) / 254
    with np.errstate():
        code = trees.Wrapper(forest, "inline", dtype="int16_t", leaf_bits=8).save(name=prefix)
    divisions = code.count("]/255.0f)")
    if divisions != 2 * len(forest.estimators_):
        raise InputError("emlearn generates trees in an unknown way; install the version in constraints.txt")
    code = code.replace("]/255.0f)", f"]/{LEAF_STEPS}.0f)")
    return f"""{code}

static inline int stinger_{spec.name}_predict_proba(const int16_t *features, float *out)
{{
    return {prefix}_predict_proba(features, {len(spec.feature_set)}, out, {classes});
}}
"""


class _Exact(float):
    """A float that prints all nine digits of its float32 whatever format is asked for."""

    def __format__(self, spec: str) -> str:
        """Return the C literal without its suffix."""
        return f"{float(self):.8e}"


def _exact(values: Any, name: str) -> NDArray[np.object_]:
    """Wrap numbers as `_Exact`, same shape; an object array keeps them as they are."""
    with np.errstate(over="ignore"):
        single = np.asarray(values, dtype=np.float64).astype(np.float32)
    if not np.isfinite(single).all():
        raise InputError(f"{name} has a weight too large for a C float; train it again")
    wrapped = np.empty(single.shape, dtype=np.object_)
    wrapped.ravel()[:] = [_Exact(v) for v in single.ravel().tolist()]
    return wrapped


def _net(spec: ModelSpec, pipeline: Any) -> str:
    scaler, classifier = (step for _, step in pipeline.steps)
    if hasattr(classifier, "coef_"):
        rows = len(classifier.intercept_)
        weights = [classifier.coef_.T, np.eye(rows)]
        biases = [classifier.intercept_, np.zeros(rows)]
        activations = ["identity", "logistic" if rows == 1 else "softmax"]
    else:
        weights, biases = classifier.coefs_, classifier.intercepts_
        activations = [classifier.activation] * (len(weights) - 1) + [classifier.out_activation_]
    prefix, features = f"emlearn_{spec.name}", len(spec.feature_set)
    code = net.c_generate_net_loadable(
        activations, [_exact(w, spec.name) for w in weights], [_exact(b, spec.name) for b in biases], prefix
    )
    # The whole part of the mean is subtracted as an integer: a float of thousands has no digits left for the rest.
    centre = np.clip(np.rint(scaler.mean_), -32768, 32767)
    rest = ", ".join(f"{v:}f" for v in _exact(scaler.mean_ - centre, spec.name))
    scale = ", ".join(f"{v:}f" for v in _exact(1 / scaler.scale_, spec.name))
    return f"""#include <stdint.h>

// !!! The network is generated using emlearn !!!
{code}

static inline int stinger_{spec.name}_predict_proba(const int16_t *features, float *out)
{{
    // Standardisation: (feature - mean) / deviation, the mean split into a whole number and a rest.
    static const int16_t centre[{features}] = {{ {", ".join(str(int(v)) for v in centre)} }};
    static const float rest[{features}] = {{ {rest} }};
    static const float scale[{features}] = {{ {scale} }};
    float scaled[{features}];
    for (int i = 0; i < {features}; i++) {{
        scaled[i] = ((float)((int32_t)features[i] - centre[i]) - rest[i]) * scale[i];
    }}
    return (int)eml_net_predict_proba(&{prefix}, scaled, {features}, out, {len(spec.classes)});
}}
"""
