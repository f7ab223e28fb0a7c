"""Crops of pictures that lie decoded on the device: the Triton kernel or plain torch."""

import torch

from .devices import runs_triton
from .torch_crops import torch_crops
from .windows import NUM_COLUMNS, Windows


def make_crops(pixels: torch.Tensor, windows: Windows, *, size: int) -> torch.Tensor:
    """Crops from decoded pictures, as `make_views` wants them; not flipped, which is its work.

    Resized by Pillow's triangle filter, antialiased, in float32, and rounded to nearest. On a GPU
    one launch on the current stream, with no synchronisation.

    Args:
        pixels: (total,) uint8, contiguous: pictures one after another, each as rows of RGB.
        windows: of `pack_windows`, one a crop. From pinned memory it is copied to the pixels'
            device beside the host's work.
        size: side of the crops, px.

    Returns:
        (N, size, size, 3) uint8, contiguous, on the pixels' device; fresh memory.
    """
    table = windows.table
    assert pixels.ndim == 1, pixels.shape
    assert pixels.dtype == torch.uint8, pixels.dtype
    assert pixels.is_contiguous(), pixels.stride()
    assert table.shape == (len(table), NUM_COLUMNS), table.shape
    assert windows.end <= len(pixels), (windows.end, len(pixels))
    table = table.to(pixels.device, non_blocking=True)
    if runs_triton(pixels.device):
        from .triton_crops import triton_crops

        return triton_crops(pixels, table, size=size)
    return torch_crops(pixels, table, size=size, max_taps=windows.max_taps)
