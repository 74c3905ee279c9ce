"""The four networks as modules for Nuke's Inference node: one picture of scene-linear channels in, one out.

The code must work in TorchScript, so it is kept simple. Each module takes one tensor and gives one, (1, channels,
height, width) of any size, on any device, in float32 or half. Colour curve, resizing and padding run in float32 inside,
by the same rules as in the stages; only the network itself runs in the type of the input. The node's custom knobs set
attributes: `exposure`, `primaries`, `resolution`, `hard`.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from fsgan_core.networks.weights.catalogue import HEAT_MAPS

__all__ = [
    "BlendNode",
    "InpaintNode",
    "MaskNode",
    "PictureReenactNode",
    "PlainGenerator",
    "PointsReenactNode",
    "SegmentingGenerator",
]


class _InferenceNode(nn.Module):
    """Shared by all four: converts scene-linear colour to the network's input, and back."""

    def __init__(self, resolution: int) -> None:
        super().__init__()
        self.exposure = 0.0  # stops that bring the face to a normal exposure; undone in the result
        self.primaries = 0  # of the working space: 0 Rec.709, 1 ACEScg (AP1)
        self.resolution = resolution  # longer side of the network's picture in pixels; 0: the input's own size

    # Colour, float32, (n, 3, h, w), by the curve of sRGB as in the stages.

    def to_display(self, linear: Tensor) -> Tensor:
        """Converts scene-linear colour to display-like values."""
        rgb = torch.nan_to_num(linear.float(), 0.0, 65504.0, -65504.0) * 2.0**self.exposure
        if self.primaries == 1:
            rgb = self.mix_channels(
                rgb,
                [
                    1.70505095,
                    -0.62179214,
                    -0.08325887,
                    -0.13025641,
                    1.14080477,
                    -0.01054832,
                    -0.02400336,
                    -0.12896897,
                    1.15297234,
                ],
            )
        size = torch.abs(rgb)
        curved = torch.where(size <= 0.0031308, size * 12.92, self.apply_power(torch.clamp(size, min=0.0031308)))
        return torch.sign(rgb) * curved

    def to_scene_linear(self, display: Tensor) -> Tensor:
        """Converts display-like values to scene-linear colour: the inverse of `to_display`."""
        size = torch.abs(display)
        rgb = torch.sign(display) * torch.where(size <= 0.04045, size / 12.92, self.invert_power(size))
        if self.primaries == 1:
            rgb = self.mix_channels(
                rgb,
                [
                    0.61309743,
                    0.33952314,
                    0.04737945,
                    0.07019372,
                    0.91635388,
                    0.0134524,
                    0.02061559,
                    0.10956977,
                    0.86981463,
                ],
            )
        result: Tensor = rgb * 2.0**-self.exposure
        return result

    def apply_power(self, linear: Tensor) -> Tensor:
        """Applies the power part of the sRGB curve."""
        return 1.055 * torch.pow(linear, 1.0 / 2.4) - 0.055

    def invert_power(self, display: Tensor) -> Tensor:
        """Inverts `apply_power`."""
        return torch.pow((display + 0.055) / 1.055, 2.4)

    def mix_channels(self, rgb: Tensor, m: list[float]) -> Tensor:
        """Multiplies colours by the 3x3 matrix `m`, given row by row."""
        red, green, blue = rgb[:, 0:1], rgb[:, 1:2], rgb[:, 2:3]
        return torch.cat(
            [
                m[0] * red + m[1] * green + m[2] * blue,
                m[3] * red + m[4] * green + m[5] * blue,
                m[6] * red + m[7] * green + m[8] * blue,
            ],
            dim=1,
        )

    # Size.

    def choose_working_size(self, height: int, width: int) -> list[int]:
        """Computes height and width of the network's picture, before padding."""
        longer = max(height, width)
        if self.resolution <= 0 or self.resolution == longer:
            return [height, width]
        factor = float(self.resolution) / float(longer)
        return [max(1, int(height * factor + 0.5)), max(1, int(width * factor + 0.5))]

    def resize(self, x: Tensor, size: list[int]) -> Tensor:
        """Resizes to (height, width): by area means if smaller, else bicubic."""
        if x.shape[2] == size[0] and x.shape[3] == size[1]:
            return x
        if x.shape[2] >= size[0]:
            return functional.adaptive_avg_pool2d(x, (size[0], size[1]))
        result: Tensor = torch.ops.aten.upsample_bicubic2d(x, [size[0], size[1]], False)
        return result

    def pad_to_multiple(self, x: Tensor) -> Tensor:
        """Pads to multiples of 32, the most that a network here needs, by repeating the last row and column."""
        below, beside = -x.shape[2] % 32, -x.shape[3] % 32
        return functional.pad(x, [0, beside, 0, below], mode="replicate")

    def prepare_picture(self, linear: Tensor, size: list[int]) -> Tensor:
        """Converts scene-linear colour to a network's picture, display-like in 0..1, at `size`."""
        return torch.clamp(self.resize(torch.clamp(self.to_display(linear), 0.0, 1.0), size), 0.0, 1.0)

    def decode_picture(self, answer: Tensor, seen: Tensor) -> Tensor:
        """Converts a network's padded picture from -1..1 to 0..1, without the padding of `seen`."""
        return torch.clamp(answer[:, :3, : seen.shape[2], : seen.shape[3]].float() * 0.5 + 0.5, 0.0, 1.0)

    def compute_change(self, before: Tensor, after: Tensor, height: int, width: int) -> Tensor:
        """Computes what a network changed, in scene-linear colour at the picture's size.

        Values are clamped at white, beyond which a network sees nothing.
        """
        return self.to_scene_linear(torch.clamp(self.resize(after, [height, width]), 0.0, 1.0)) - self.to_scene_linear(
            torch.clamp(self.resize(before, [height, width]), 0.0, 1.0)
        )

    def erode_matte(self, matte: Tensor) -> tuple[Tensor, Tensor]:
        """Erodes a matte (n, 1, h, w) as in the published pipeline; returns a soft and a hard matte."""
        radius = max(1, int(10.0 * float(max(matte.shape[2], matte.shape[3])) / 256.0 + 0.5))
        offset = torch.arange(-radius, radius + 1, device=matte.device, dtype=torch.float32)
        distance = torch.sqrt(offset[:, None] * offset[:, None] + offset[None, :] * offset[None, :])
        kernel = torch.amax(distance) - distance
        kernel = (kernel / kernel.sum())[None, None]
        blurred = functional.conv2d(torch.clamp(matte.float(), 0.0, 1.0), kernel, padding=radius)
        core = blurred >= 0.6
        rim = torch.where(core, torch.zeros_like(blurred), blurred)
        rim = rim / torch.clamp(torch.amax(rim, dim=[2, 3], keepdim=True), min=1e-6)
        return torch.where(core, torch.ones_like(rim), rim), core.float()


class MaskNode(_InferenceNode):
    """Finds face, hair and background.

    Input: picture (n, 3, h, w). Output: (n, 4, h, w), face, hair, background, and face again as alpha. The shares sum
    to 1; with `hard` they are 1 for the most likely class, else 0.
    """

    def __init__(self, network: nn.Module, resolution: int) -> None:
        super().__init__(resolution)
        self.network = network
        self.hard = 0

    def forward(self, x: Tensor) -> Tensor:
        """Computes the shares."""
        height, width = x.shape[2], x.shape[3]
        seen = self.prepare_picture(x[:, :3], self.choose_working_size(height, width))
        scores = self.network(self.pad_to_multiple(seen * 2.0 - 1.0).to(x.dtype))
        scores = self.resize(scores[:, :, : seen.shape[2], : seen.shape[3]].float(), [height, width])
        if self.hard != 0:
            scores = (scores == torch.amax(scores, dim=1, keepdim=True)).float()
        else:
            scores = torch.softmax(scores, dim=1)
        face = scores[:, 1:2]
        return torch.cat([face, scores[:, 2:3], scores[:, 0:1], face], dim=1).to(x.dtype).contiguous()


class InpaintNode(_InferenceNode):
    """Completes the reenacted face.

    Input: (n, 5, h, w), reenacted face (premultiplied), its alpha, the target's face matte. Output: (n, 4, h, w), the
    completed face (not premultiplied) and that matte.
    """

    def __init__(self, network: nn.Module, resolution: int) -> None:
        super().__init__(resolution)
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Computes the completed face."""
        height, width = x.shape[2], x.shape[3]
        size = self.choose_working_size(height, width)
        alpha = torch.nan_to_num(x[:, 3:4].float())
        known = (alpha >= 0.5).float()
        unpremultiplied = torch.nan_to_num(x[:, :3].float()) / torch.clamp(alpha, min=0.5) * known
        weight = self.resize(known, size)
        before = self.prepare_picture(unpremultiplied, size)
        before = torch.where(
            weight >= 0.5, torch.clamp(before / torch.clamp(weight, min=0.5), 0.0, 1.0), torch.zeros_like(before)
        )
        hard = self.erode_matte(self.resize(torch.nan_to_num(x[:, 4:5].float()), size))[1]
        given = self.pad_to_multiple(torch.cat([before * 2.0 - 1.0, hard], dim=1))
        after = self.decode_picture(self.network(given.to(x.dtype)), before)
        drawn = self.to_scene_linear(torch.clamp(self.resize(after, [height, width]), 0.0, 1.0))
        kept = unpremultiplied + self.compute_change(before, after, height, width)
        return torch.cat([torch.where(known > 0.5, kept, drawn), x[:, 4:5].float()], dim=1).to(x.dtype).contiguous()


class BlendNode(_InferenceNode):
    """Blends the completed face into the target.

    Input: (n, 7, h, w), completed face, the target's face matte, the target. Output: (n, 4, h, w), the target with the
    face, and the soft matte. Where the soft matte is 0, the target does not change.
    """

    def __init__(self, network: nn.Module, resolution: int) -> None:
        super().__init__(resolution)
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Computes the blended picture and the soft matte."""
        height, width = x.shape[2], x.shape[3]
        size = self.choose_working_size(height, width)
        completed, target = torch.nan_to_num(x[:, :3].float()), torch.nan_to_num(x[:, 4:7].float())
        soft, hard = self.erode_matte(self.resize(torch.nan_to_num(x[:, 3:4].float()), size))
        own = self.prepare_picture(target, size)
        before = self.prepare_picture(completed, size) * hard + own * (1.0 - hard)
        given = self.pad_to_multiple(torch.cat([before * 2.0 - 1.0, own * 2.0 - 1.0, hard], dim=1))
        after = self.decode_picture(self.network(given.to(x.dtype)), torch.maximum(before, own))
        core = torch.clamp(self.resize(hard, [height, width]), 0.0, 1.0)
        seated = completed * core + target * (1.0 - core) + self.compute_change(before, after, height, width)
        soft = torch.clamp(self.resize(soft, [height, width]), 0.0, 1.0)
        return torch.cat([target + (seated - target) * soft, soft], dim=1).to(x.dtype).contiguous()


class PlainGenerator(nn.Module):
    """A generator with one head: its picture, and 1 everywhere as the face matte."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Computes picture and face matte, (n, 4, h, w)."""
        picture = self.network(x)
        return torch.cat([picture, torch.ones_like(picture[:, :1])], dim=1)


class SegmentingGenerator(nn.Module):
    """A generator with two heads: its picture, and 1 where its segmentation says face."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Computes picture and face matte, (n, 4, h, w)."""
        picture, scores = self.network(x)
        face = scores[:, 1:2] >= torch.amax(scores, dim=1, keepdim=True)
        return torch.cat([picture, face.to(picture.dtype)], dim=1)


class _ReenactNode(_InferenceNode):
    """Shared by both reenactment nodes: draws the source's face at given landmarks."""

    def __init__(self, network: nn.Module, resolution: int, heat_maps: str) -> None:
        super().__init__(resolution)
        self.network = network  # PlainGenerator or SegmentingGenerator
        self.has_patches = heat_maps == HEAT_MAPS[1]
        self.has_blurs = heat_maps == HEAT_MAPS[2]

    def draw_heat_maps(self, points: Tensor, side: float, height: int, width: int) -> Tensor:
        """Draws the published heat maps, (n, points, height, width).

        points: (n, points, 2), x and y in pixels from the upper left edge of a crop of `side` pixels.
        """
        if self.has_patches:  # the numbers of both are explained in faces.landmarkers.heatmap
            reach = 3.0 * float(max(1, int(side / 128.0 + 0.5)))
            deviation = 0.25 * (2.0 * reach + 1.0)
            return self.draw_gaussians(points - 1.0, reach, 2.0 * deviation * deviation, height, width)
        if self.has_blurs:
            return self.draw_gaussians(points, 6.0, 16.0, height, width)
        return self.draw_cones(points, side, height, width)

    def draw_gaussians(self, points: Tensor, reach: float, spread: float, height: int, width: int) -> Tensor:
        """Draws exp(-d * d / spread) around the pixel of each point, up to `reach` pixels in x and y."""
        middle = torch.floor(points)
        x = torch.arange(width, device=points.device, dtype=torch.float32)
        y = torch.arange(height, device=points.device, dtype=torch.float32)
        across = x[None, None, None, :] - middle[:, :, 0, None, None]
        down = y[None, None, :, None] - middle[:, :, 1, None, None]
        near = torch.maximum(torch.abs(across), torch.abs(down)) <= reach
        return torch.exp(-(across * across + down * down) / spread) * near.to(torch.float32)

    def draw_cones(self, points: Tensor, side: float, height: int, width: int) -> Tensor:
        """Draws the heat maps of version 2; arguments and result as in `draw_heat_maps`."""
        x = torch.arange(width, device=points.device, dtype=torch.float32) + 0.5
        y = torch.arange(height, device=points.device, dtype=torch.float32) + 0.5
        across = (x[None, None, None, :] - points[:, :, 0, None, None]) / side
        down = (y[None, None, :, None] - points[:, :, 1, None, None]) / side
        distance = torch.sqrt(across * across + down * down)
        cone = torch.pow(torch.clamp((1.4142135623730951 - distance) / 1.4142135623730951, min=0.0), 8.0)
        return torch.clamp((cone - 0.8) / 0.2, min=0.0)

    def draw_face(self, source: Tensor, points: Tensor, like: Tensor) -> Tensor:
        """Draws the face of `source` (0..1) at landmarks in its pixels.

        Returns scene-linear picture and alpha, (n, 4, h, w), with the size and type of `like`.
        """
        height, width = source.shape[2], source.shape[3]
        seen = self.pad_to_multiple(source * 2.0 - 1.0)
        maps = self.draw_heat_maps(points, float(max(height, width)), seen.shape[2], seen.shape[3])
        answer = self.network(torch.cat([seen, maps], dim=1).to(like.dtype))
        size = [like.shape[2], like.shape[3]]
        picture = self.to_scene_linear(torch.clamp(self.resize(self.decode_picture(answer, source), size), 0.0, 1.0))
        face = torch.clamp(self.resize(answer[:, 3:4, :height, :width].float(), size), 0.0, 1.0)
        return torch.cat([picture, face], dim=1).to(like.dtype).contiguous()


class PointsReenactNode(_ReenactNode):
    """Draws the source's face at landmarks that come as a table.

    Input: (n, 5, h, w), a view of the source, then the table in two channels. Output: (n, 4, h, w), the face (not
    premultiplied) and its matte. Column k of the table, in any row (the middle one is read), holds x and y of landmark
    k, 0..1 from the upper left corner of the picture. The picture must be at least as wide as there are landmarks.
    """

    def __init__(self, network: nn.Module, resolution: int, landmarks: int, heat_maps: str = "cone") -> None:
        super().__init__(network, resolution, heat_maps)
        self.landmarks = landmarks

    def forward(self, x: Tensor) -> Tensor:
        """Computes the face and its matte."""
        height, width = x.shape[2], x.shape[3]
        source = self.prepare_picture(x[:, :3], self.choose_working_size(height, width))
        table = torch.nan_to_num(x[:, 3:5, height // 2, : self.landmarks].float()).transpose(1, 2)
        scale = torch.ones_like(table)
        scale[:, :, 0] = float(source.shape[3])
        scale[:, :, 1] = float(source.shape[2])
        return self.draw_face(source, table * scale, x)


class PictureReenactNode(_ReenactNode):
    """Draws the source's face at the landmarks that a network finds in a driving picture.

    Input: (n, 6, h, w), a view of the source, then the driving picture. Output: (n, 4, h, w), the face (not
    premultiplied) and its matte.
    """

    def __init__(self, network: nn.Module, resolution: int, landmarker: nn.Module) -> None:
        super().__init__(network, resolution, "cone")  # of all networks with 98 landmarks
        self.landmarker = landmarker

    def forward(self, x: Tensor) -> Tensor:
        """Computes the face and its matte."""
        size = self.choose_working_size(x.shape[2], x.shape[3])
        return self.draw_face(
            self.prepare_picture(x[:, :3], size), self.locate_landmarks(self.prepare_picture(x[:, 3:6], size), x), x
        )

    def locate_landmarks(self, driver: Tensor, like: Tensor) -> Tensor:
        """Finds the landmarks (n, landmarks, 2), in pixels of `driver` (n, 3, h, w), 0..1; as in `faces.heatmap`."""
        seen = self.pad_to_multiple(driver)
        seen = torch.cat(
            [(seen[:, 0:1] - 0.485) / 0.229, (seen[:, 1:2] - 0.456) / 0.224, (seen[:, 2:3] - 0.406) / 0.225], dim=1
        )
        maps = self.landmarker(seen.to(like.dtype)).float()
        low = torch.amin(maps, dim=[2, 3], keepdim=True)
        reach = torch.amax(maps, dim=[2, 3], keepdim=True) - low
        share = torch.where(reach > 0, (maps - low) / torch.clamp(reach, min=1e-12), torch.ones_like(maps))
        mass = torch.where(share >= 0.5, share, torch.zeros_like(share))
        total = mass.sum(dim=[2, 3])
        x = torch.arange(maps.shape[3], device=maps.device, dtype=torch.float32) + 0.5
        y = torch.arange(maps.shape[2], device=maps.device, dtype=torch.float32) + 0.5
        across = (mass.sum(dim=2) * x).sum(dim=2) / total * (float(seen.shape[3]) / float(maps.shape[3]))
        down = (mass.sum(dim=3) * y).sum(dim=2) / total * (float(seen.shape[2]) / float(maps.shape[2]))
        return torch.stack([across, down], dim=2)
