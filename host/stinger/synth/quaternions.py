"""Rotations as unit quaternions ``(w, x, y, z)``, many at once.

A product ``a ⊗ b`` turns by ``b`` in the frame that ``a`` has turned already. The time axis comes first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def multiply(a: Array, b: Array) -> Array:
    """Return the products ``a ⊗ b``; shapes ``(..., 4)`` that broadcast."""
    aw, ax, ay, az = np.moveaxis(a, -1, 0)
    bw, bx, by, bz = np.moveaxis(b, -1, 0)
    return np.stack(
        [
            aw * bw - ax * bx - ay * by - az * bz,
            aw * bx + ax * bw + ay * bz - az * by,
            aw * by - ax * bz + ay * bw + az * bx,
            aw * bz + ax * by - ay * bx + az * bw,
        ],
        axis=-1,
    )


def from_rpy(degrees: Array) -> Array:
    """Turn roll, pitch and yaw in degrees, shape ``(..., 3)``, into rotations: about z, then y, then x (ZYX)."""
    half = np.radians(degrees) / 2
    cr, cp, cy = np.moveaxis(np.cos(half), -1, 0)
    sr, sp, sy = np.moveaxis(np.sin(half), -1, 0)
    return np.stack(
        [
            cr * cp * cy + sr * sp * sy,
            sr * cp * cy - cr * sp * sy,
            cr * sp * cy + sr * cp * sy,
            cr * cp * sy - sr * sp * cy,
        ],
        axis=-1,
    )


def cumulative(start: Array, steps: Array) -> Array:
    """Multiply up: row ``k`` is ``start ⊗ steps[0] ⊗ ... ⊗ steps[k]``.

    The products are formed by doubling, in as many passes as ``n`` has binary digits: fast in numpy, and its rounding
    errors grow with the passes, not with the samples.

    Args:
        start: Where the motion begins, shape ``(4,)``.
        steps: How each sample turns, shape ``(n, 4)``.
    """
    poses = steps.copy()
    if len(poses):
        poses[0] = multiply(start, poses[0])
    distance = 1
    while distance < len(poses):
        poses[distance:] = multiply(poses[:-distance], poses[distance:])
        distance *= 2
    return poses


def into_frame(poses: Array, vectors: Array) -> Array:
    """See world vectors from a body that has turned: ``conj(pose) ⊗ vector ⊗ pose``.

    Args:
        poses: Shape ``(n, 4)``.
        vectors: Shape ``(3,)`` or ``(n, 3)``.
    """
    w, imaginary = poses[:, :1], poses[:, 1:]
    # v' = v + 2 u × (u × v) - 2 w (u × v) with u the imaginary part, which is the product written out.
    turned = np.cross(imaginary, np.broadcast_to(vectors, imaginary.shape))
    seen: Array = vectors + 2 * (np.cross(imaginary, turned) - w * turned)
    return seen
