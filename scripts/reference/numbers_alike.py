"""Numbers that this side and heddle's (test/parity/numbers.ts) draw alike, so that no file holds weights and pixels."""

import zlib

import numpy
import torch

M = numpy.uint64(0xFFFFFFFF)


def uniform(name, shape):
    """In (0, 1), row-major, exact in f32 and so the same in every precision: a hash of the name and of each place."""
    count = int(numpy.prod(shape, dtype=numpy.int64)) if len(shape) else 1
    x = (numpy.uint64(zlib.crc32(name.encode())) + numpy.arange(count, dtype=numpy.uint64) * numpy.uint64(0x9E3779B9)) & M
    for shift, factor in ((16, 0x21F0AAAD), (15, 0x735A2D97)):
        x ^= x >> numpy.uint64(shift)
        x = (x * numpy.uint64(factor)) & M
    x ^= x >> numpy.uint64(15)
    return torch.from_numpy(((x >> numpy.uint64(9)) + 0.5) / 2**23).reshape(shape)


def spread(name, shape, base, width):
    """Uniform in base ± width, as f32."""
    return (base + width * (2 * uniform(name, shape) - 1)).float().double()
