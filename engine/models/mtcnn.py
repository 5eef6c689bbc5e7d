"""MTCNN's cascade (Zhang et al. 2016, arXiv 1604.02878): where faces are, and five points of each.

Places are in pixels of the picture, x to the right and y down, from the corner of its first pixel,
whose middle so is (.5, .5). A box is left, top, right, bottom.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ..networks.mtcnn import OutputNetwork, ProposalNetwork, RefineNetwork

STEP = 0.709
"""From one size of the pyramid to the next: half the area."""
THRESHOLDS = (0.6, 0.7, 0.7)
"""Probability from which a box goes on, after each network."""
WITHIN_SIZE, BETWEEN_SIZES, REFINED, FINAL = 0.5, 0.7, 0.7, 0.7
"""Overlap from which of two boxes the likelier is kept."""
MOST_PROPOSALS = 2000
"""Of a picture, the likeliest: what looks like faces everywhere must not exhaust the memory."""


class Mtcnn:
    """The cascade over networks that are frozen, on a device.

    Args:
        networks: the three, in evaluation mode.
        smallest: side of the smallest face that is looked for, in pixels.
    """

    def __init__(
        self,
        networks: tuple[ProposalNetwork, RefineNetwork, OutputNetwork],
        device: torch.device,
        smallest: float = 20,
    ) -> None:
        self.proposal, self.refine, self.output = (network.to(device) for network in networks)
        self.device = device
        self.smallest = smallest

    @torch.inference_mode()
    def find(self, picture: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Faces of a picture (3, H, W), RGB in [-1, 1], on the device.

        Returns:
            Boxes (n, 4), five points of each (n, 5, 2) and their probabilities (n,), from the
            likeliest on. Boxes and points may reach beyond the picture.
        """
        boxes, scores = self._proposed(picture)
        boxes, scores = self._refined(picture, boxes)
        return self._described(picture, boxes)

    def _proposed(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        height, width = picture.shape[1:]
        scale = self.proposal.side / self.smallest
        found = [(picture.new_zeros(0, 4), picture.new_zeros(0))]
        while min(height, width) * scale >= self.proposal.side:
            size = (round(height * scale), round(width * scale))
            scores, moves = self.proposal(resized(picture[None], size))
            row, column = torch.nonzero(scores[0] >= THRESHOLDS[0], as_tuple=True)
            corner = torch.stack([column, row, column, row], 1) * self.proposal.stride
            boxes = corner + picture.new_tensor([0, 0, self.proposal.side, self.proposal.side])
            boxes = boxes / scale
            likely = scores[0, row, column]
            kept = suppress(boxes, likely, WITHIN_SIZE)
            boxes = moved(boxes[kept], moves[0, :, row, column].t()[kept])
            found.append((boxes, likely[kept]))
            scale *= STEP
        boxes, scores = (torch.cat(parts) for parts in zip(*found, strict=True))
        kept = suppress(boxes, scores, BETWEEN_SIZES)[:MOST_PROPOSALS]
        return squared(boxes[kept]), scores[kept]

    def _refined(self, picture: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor]:
        if not len(boxes):
            return boxes, boxes.new_zeros(0)
        scores, moves = self.refine(windows(picture, boxes, self.refine.side))
        likely = scores >= THRESHOLDS[1]
        boxes, scores, moves = boxes[likely], scores[likely], moves[likely]
        kept = suppress(boxes, scores, REFINED)
        return squared(moved(boxes[kept], moves[kept])), scores[kept]

    def _described(self, picture: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        if not len(boxes):
            return boxes, boxes.new_zeros(0, 5, 2), boxes.new_zeros(0)
        scores, moves, points = self.output(windows(picture, boxes, self.output.side))
        likely = scores >= THRESHOLDS[2]
        boxes, scores, moves, points = boxes[likely], scores[likely], moves[likely], points[likely]
        sides = (boxes[:, 2:] - boxes[:, :2])[:, None]
        points = boxes[:, None, :2] + points * sides
        boxes = moved(boxes, moves)
        kept = suppress(boxes, scores, FINAL, of_smaller=True)
        return boxes[kept], points[kept], scores[kept]


def resized(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Pictures (n, c, H, W) -> (n, c, *size), bilinear; averaged where they shrink."""
    return F.interpolate(pictures, size, mode="bilinear", antialias=True, align_corners=False)


def windows(picture: Tensor, boxes: Tensor, side: int) -> Tensor:
    """What boxes (n, 4) show of a picture (c, H, W): (n, c, side, side); black beyond it.

    Sides are rounded to whole pixels, of which a box has one at least.
    """
    height, width = picture.shape[1:]
    found = []
    for left, top, right, bottom in boxes.round().long().tolist():
        right, bottom = max(right, left + 1), max(bottom, top + 1)
        part = picture[:, max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        margins = (
            min(max(-left, 0), right - left - part.shape[2]),
            max(right - max(width, left), 0),
            min(max(-top, 0), bottom - top - part.shape[1]),
            max(bottom - max(height, top), 0),
        )
        part = F.pad(part, margins, value=-1.0)
        found.append(resized(part[None], (side, side)))
    return torch.cat(found)


def moved(boxes: Tensor, moves: Tensor) -> Tensor:
    """Boxes (n, 4) with their sides moved by shares (n, 4) of their widths and heights."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return boxes + moves * sides.repeat(1, 2)


def squared(boxes: Tensor) -> Tensor:
    """Boxes (n, 4) made square about their middles, by their longer sides."""
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).amax(1, keepdim=True) / 2
    return torch.cat([middles - half, middles + half], 1)


def suppress(boxes: Tensor, scores: Tensor, most: float, *, of_smaller: bool = False) -> Tensor:
    """Numbers of the boxes (n, 4) that no likelier one overlaps by more than `most`, from the
    likeliest on: non-maximum suppression.

    Args:
        of_smaller: overlap is the shared area by the smaller box's, not by what both cover.
    """
    areas = (boxes[:, 2:] - boxes[:, :2]).clamp(min=0).prod(1)
    left = scores.argsort(descending=True, stable=True)
    kept = []
    while len(left):
        first, left = left[0], left[1:]
        kept.append(first)
        low = torch.maximum(boxes[left, :2], boxes[first, :2])
        high = torch.minimum(boxes[left, 2:], boxes[first, 2:])
        shared = (high - low).clamp(min=0).prod(1)
        if of_smaller:
            covered = torch.minimum(areas[left], areas[first])
        else:
            covered = areas[left] + areas[first] - shared
        left = left[shared <= most * covered]
    return torch.stack(kept) if kept else left
