"""MTCNN's cascade (Zhang et al. 2016, arXiv 1604.02878): where faces are, and five points of each.

Places are in pixels of the picture, x to the right and y down, from the corner of its first pixel,
whose middle so is (.5, .5). A box is left, top, right, bottom.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..networks.mtcnn import OutputNetwork, ProposalNetwork, RefineNetwork

LONGEST, SHARPEST = 1024, 4096
"""Of the sides of the pictures in which faces are looked for, and looked at, in pixels; larger ones
are shrunk."""
SMALLEST = 20
"""Side of the smallest face that is looked for there, in pixels."""
STEP = 0.709
"""From one size of the pyramid to the next: half the area."""
THRESHOLDS = (0.6, 0.7, 0.7)
"""Probability from which a box goes on, after each network."""
WITHIN_SIZE, BETWEEN_SIZES, REFINED, FINAL = 0.5, 0.7, 0.7, 0.7
"""Overlap from which of two boxes the likelier is kept."""
FINEST = 32
"""Samples a side that a pixel of the last look is averaged of, at most."""
MOST_PROPOSALS = 2000
"""Of a picture, the likeliest: what looks like faces everywhere must not exhaust the memory."""
UPRIGHT_SIDE, UPRIGHT_DOWN = 2.35, 0.25
"""The square of the last look: its side in distances between the eyes or from them to the mouth,
whichever is longer; its middle, from the eyes to the mouth. Where the points of 64 generated faces
vary least; from 2.2 and .2 to 2.5 and .4 they do about as little."""
MIRRORED = [1, 0, 2, 4, 3]
"""The number of each point's counterpart in the mirror image."""


class Mtcnn:
    """The cascade over networks that are frozen and in evaluation mode, on a device.

    After the paper's three networks the third looks again, at each face turned upright and at the
    mirror image of that: points then vary less, and what only looked like a face is seen as none
    (docs/faces.md).
    """

    def __init__(
        self,
        networks: tuple[ProposalNetwork, RefineNetwork, OutputNetwork],
        device: torch.device,
    ) -> None:
        self.proposal, self.refine, self.output = networks
        for network in networks:
            network.to(device)
        self.device = device

    @torch.inference_mode()
    def find(self, picture: NDArray[np.uint8]) -> tuple[Tensor, Tensor, Tensor]:
        """Faces of a picture (H, W, 3), RGB.

        Returns:
            Boxes (n, 4), five points of each (n, 5, 2) and their probabilities (n,), from the
            likeliest on. Boxes and points may reach beyond the picture.
        """
        # PyTorch takes no array that it may not write to.
        sharp = shrunk(np.require(picture, requirements=["C", "W"]), SHARPEST)
        small = shrunk(sharp, LONGEST)
        pixels = torch.from_numpy(small).permute(2, 0, 1).to(self.device)  # (3, h, w)
        boxes = self._refined(pixels, self._proposed(unit(pixels[None])))
        boxes = boxes * (max(sharp.shape) / max(small.shape))
        pixels = torch.from_numpy(sharp).permute(2, 0, 1)  # (3, H, W), on the CPU
        boxes, points, scores = self._described(pixels, boxes)
        scale = max(picture.shape) / max(sharp.shape)
        return boxes * scale, points * scale, scores

    def _proposed(self, picture: Tensor) -> Tensor:
        """Square boxes (n, 4) that may be faces of a picture (1, 3, h, w) in [-1, 1]."""
        height, width = picture.shape[2:]
        scale = self.proposal.side / SMALLEST
        found = [(picture.new_zeros(0, 4), picture.new_zeros(0))]
        while min(height, width) * scale >= self.proposal.side:
            size = (round(height * scale), round(width * scale))
            scores, moves = self.proposal(resized(picture, size))
            row, column = torch.nonzero(scores[0] >= THRESHOLDS[0], as_tuple=True)
            corner = torch.stack([column, row, column, row], 1) * self.proposal.stride
            side = self.proposal.side
            boxes = (corner + corner.new_tensor([0, 0, side, side])) / scale
            likely = scores[0, row, column]
            kept = suppressed(boxes, likely, WITHIN_SIZE)
            boxes = moved(boxes[kept], moves[0, :, row, column].t()[kept])
            found.append((boxes, likely[kept]))
            scale *= STEP
        boxes, scores = (torch.cat(parts) for parts in zip(*found, strict=True))
        return squared(boxes[suppressed(boxes, scores, BETWEEN_SIZES)[:MOST_PROPOSALS]])

    def _refined(self, pixels: Tensor, boxes: Tensor) -> Tensor:
        """Those of square boxes (n, 4) that still may be faces, square anew."""
        if not len(boxes):
            return boxes
        scores, moves = self.refine(self._windows(pixels, boxes, self.refine.side))
        likely = scores >= THRESHOLDS[1]
        boxes, scores, moves = boxes[likely], scores[likely], moves[likely]
        kept = suppressed(boxes, scores, REFINED)
        return squared(moved(boxes[kept], moves[kept]))

    def _described(self, pixels: Tensor, boxes: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Of square boxes (n, 4) what `find` returns."""
        if not len(boxes):
            return boxes, boxes.new_zeros(0, 5, 2), boxes.new_zeros(0)
        scores, moves, points = self.output(self._windows(pixels, boxes, self.output.side))
        points = boxes[:, None, :2] + points * (boxes[:, 2:] - boxes[:, :2])[:, None]
        boxes = moved(boxes, moves)
        likely = scores >= THRESHOLDS[2]
        boxes, scores, points = boxes[likely], scores[likely], points[likely]
        kept = suppressed(boxes, scores, FINAL, of_smaller=True)
        points, scores = self._upright(pixels, points[kept], scores[kept])
        likely = scores >= THRESHOLDS[2]
        return boxes[kept][likely], points[likely], scores[likely]

    def _upright(self, pixels: Tensor, points: Tensor, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Points (n, 5, 2) and probabilities (n,) of faces, where these are what was found yet."""
        frames = upright_frames(points)
        side = self.output.side
        faces = [framed(pixels, frame, side).to(self.device) for frame in frames]
        if not faces:
            return points, scores
        shown = unit(torch.cat(faces))
        scores, _, places = self.output(torch.cat([shown, shown.flip(3)]))
        seen, mirrored = places.chunk(2)
        mirrored = mirrored[:, MIRRORED] * mirrored.new_tensor([-1, 1]) + mirrored.new_tensor(
            [1, 0]
        )
        places = (seen + mirrored) / 2  # (n, 5, 2), in shares of the square
        points = places @ frames[:, :, :2].transpose(1, 2) + frames[:, None, :, 2]
        return points, torch.stack(scores.chunk(2)).mean(0)

    def _windows(self, pixels: Tensor, boxes: Tensor, side: int) -> Tensor:
        """What square boxes (n, 4) show of a picture, uint8 (3, H, W): (n, 3, side, side) in
        [-1, 1], black beyond the picture. Their sides are rounded to whole pixels."""
        shown = []
        for left, top, right, bottom in boxes.round().long().tolist():
            right, bottom = max(right, left + 1), max(bottom, top + 1)
            part = cut(pixels, left, top, right, bottom).to(self.device).float()
            shown.append(resized(part[None], (side, side)))
        return unit(torch.cat(shown))


def shrunk(picture: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    """A picture (H, W, 3) of `longest` pixels a side at most."""
    height, width = picture.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return picture
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = Image.fromarray(picture).resize(size, Image.Resampling.BILINEAR, reducing_gap=3)
    return np.array(small)


def unit(pixels: Tensor) -> Tensor:
    """Values from 0 to 255 as floats in [-1, 1]."""
    return pixels.float() / 127.5 - 1


def resized(pictures: Tensor, size: tuple[int, int]) -> Tensor:
    """Pictures (n, c, H, W) -> (n, c, *size), bilinear; averaged where they shrink."""
    return F.interpolate(pictures, size, mode="bilinear", antialias=True, align_corners=False)


def cut(pixels: Tensor, left: int, top: int, right: int, bottom: int) -> Tensor:
    """A rectangle of a picture (3, H, W), zero beyond it: (3, bottom - top, right - left)."""
    height, width = pixels.shape[1:]
    result = pixels.new_zeros(3, bottom - top, right - left)
    low_x, high_x = max(left, 0), min(right, width)
    low_y, high_y = max(top, 0), min(bottom, height)
    if low_x < high_x and low_y < high_y:
        part = pixels[:, low_y:high_y, low_x:high_x]
        result[:, low_y - top : high_y - top, low_x - left : high_x - left] = part
    return result


def upright_frames(points: Tensor) -> Tensor:
    """The squares of the last look around points (n, 5, 2): (n, 2, 3), each of which takes places
    in a square of side 1 to places in the picture."""
    eyes, mouth = points[:, :2].mean(1), points[:, 3:].mean(1)
    across, down = points[:, 1] - points[:, 0], mouth - eyes
    size = UPRIGHT_SIDE * torch.maximum(across.norm(dim=1), down.norm(dim=1))[:, None]
    across = F.normalize(across, dim=1) * size
    along = torch.stack([-across[:, 1], across[:, 0]], 1)
    corner = eyes + UPRIGHT_DOWN * down - (across + along) / 2
    return torch.stack([across, along, corner], 2)


def framed(pixels: Tensor, frame: Tensor, side: int) -> Tensor:
    """What a frame (2, 3) of `upright_frames` shows of a picture, uint8 (3, H, W): (1, 3, side,
    side) from 0 to 255, on the picture's device, averaged where it shrinks, zero beyond it."""
    frame = frame.to(pixels.device)
    fine = min(max(1, round(float(frame[:, 0].norm()) / side)), FINEST)
    steps = (torch.arange(side * fine, device=frame.device) + 0.5) / (side * fine)
    y, x = torch.meshgrid(steps, steps, indexing="ij")
    places = torch.stack([x, y], 2) @ frame[:, :2].t() + frame[:, 2]  # (S, S, 2), in pixels
    low, high = places.flatten(0, 1).amin(0), places.flatten(0, 1).amax(0)
    left, top = (low.floor().long() - 1).tolist()
    right, bottom = (high.ceil().long() + 1).tolist()
    part = cut(pixels, left, top, right, bottom).float()
    grid = 2 * (places - places.new_tensor([left, top])) / places.new_tensor(part.shape[:0:-1]) - 1
    return F.avg_pool2d(F.grid_sample(part[None], grid[None], align_corners=False), fine)


def moved(boxes: Tensor, moves: Tensor) -> Tensor:
    """Boxes (n, 4) with their sides moved by shares (n, 4) of their widths and heights,
    by all of them at most."""
    sides = boxes[:, 2:] - boxes[:, :2]
    return boxes + moves.clamp(-1, 1) * sides.repeat(1, 2)


def squared(boxes: Tensor) -> Tensor:
    """Boxes (n, 4) made square about their middles, by their longer sides."""
    middles = (boxes[:, :2] + boxes[:, 2:]) / 2
    half = (boxes[:, 2:] - boxes[:, :2]).amax(1, keepdim=True) / 2
    return torch.cat([middles - half, middles + half], 1)


def suppressed(boxes: Tensor, scores: Tensor, most: float, *, of_smaller: bool = False) -> Tensor:
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
