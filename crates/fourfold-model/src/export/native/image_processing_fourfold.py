"""Images as a model that was trained with Fourfold takes them, for `transformers` 4.57 and newer."""

import numpy as np
from PIL import Image, ImageOps
from transformers.image_processing_base import BatchFeature, ImageProcessingMixin


class FourfoldImageProcessor(ImageProcessingMixin):
    """Pictures of one size from pictures of any shape, by the keys of `preprocessor_config.json`.

    `fourfold_fit` says how: "pad" is the whole picture, resized and centred on the background; "stretch" the whole
    picture; "crop" the largest part of its middle that has the wanted shape; "square" pads to a square before it resizes
    and cuts out the middle, where there is not enough of it on black. `fourfold_background` is "white", "mean" or
    [red, green, blue] of 0 to 255.
    """

    model_input_names = ["pixel_values"]

    def __init__(self, size=None, crop_size=None, do_resize=True, resample=3, rescale_factor=1 / 255,
                 image_mean=(0.5, 0.5, 0.5), image_std=(0.5, 0.5, 0.5), fourfold_fit="pad", fourfold_background="white",
                 **kwargs):
        super().__init__(**kwargs)
        if fourfold_fit not in ("pad", "stretch", "crop", "square"):
            raise ValueError(f"fourfold_fit is '{fourfold_fit}'; expected pad, stretch, crop or square")
        self.size, self.crop_size, self.do_resize, self.resample = size, crop_size, do_resize, resample
        self.rescale_factor, self.image_mean, self.image_std = rescale_factor, list(image_mean), list(image_std)
        self.fourfold_fit, self.fourfold_background = fourfold_fit, fourfold_background

    def __call__(self, images, return_tensors=None, **kwargs):
        return self.preprocess(images, return_tensors=return_tensors)

    def preprocess(self, images, return_tensors=None, **kwargs):
        """`pixel_values` `[images, 3, height, width]` of PIL images or arrays `[height, width, 3]` of bytes, however
        they are nested in lists."""
        mean, std = (np.array(values, dtype=np.float32) for values in (self.image_mean, self.image_std))
        pixels = [np.asarray(self.fitted(opaque(image)), dtype=np.float32) for image in flat(images)]
        pixels = [(each * self.rescale_factor - mean) / std for each in pixels]
        pixels = [each.transpose(2, 0, 1).astype(np.float32) for each in pixels]
        return BatchFeature({"pixel_values": np.stack(pixels)}, tensor_type=return_tensors)

    @property
    def background(self):
        if self.fourfold_background == "white":
            return 255, 255, 255
        if self.fourfold_background == "mean":
            return tuple(int(mean * 255) for mean in self.image_mean)
        return tuple(self.fourfold_background)

    def fitted(self, image):
        """The picture in the size that the model takes."""
        wanted = self.crop_size or self.size
        target = wanted["width"], wanted["height"]
        if self.fourfold_fit == "pad":
            scale = min(most / side for side, most in zip(image.size, target))
            inner = [min(max(int(side * scale + 0.5), 1), most) for side, most in zip(image.size, target)]
            return centred(image.resize(inner, self.resample), target, self.background)
        if self.fourfold_fit == "stretch":
            return image.resize(target, self.resample)
        if self.fourfold_fit == "crop":
            scale = min(side / most for side, most in zip(image.size, target))
            inner = [most * scale for most in target]
            left, top = ((side - part) / 2 for side, part in zip(image.size, inner))
            return image.resize(target, self.resample, box=(left, top, left + inner[0], top + inner[1]))
        side = max(image.size)
        return cut(self.resized(centred(image, (side, side), self.background)), target)

    def resized(self, square):
        """A square in the size that its middle is cut from."""
        if not self.do_resize:
            return square
        edge = self.size.get("shortest_edge")
        return square.resize((edge, edge) if edge else (self.size["width"], self.size["height"]), self.resample)


def centred(image, size, color):
    """The picture in the middle of a larger one of this colour."""
    if image.size == tuple(size):
        return image
    canvas = Image.new("RGB", size, color)
    canvas.paste(image, [(outer - inner) // 2 for outer, inner in zip(size, image.size)])
    return canvas


def cut(image, size):
    """The middle of a picture, on black where there is not enough of it."""
    left, top = ((side - most) // 2 for side, most in zip(image.size, size))
    return image.crop((left, top, left + size[0], top + size[1]))


def opaque(image):
    """The picture in RGB, turned upright; by alpha channel, palette entry or colour key, what is transparent shows
    white."""
    if not isinstance(image, Image.Image):
        image = Image.fromarray(np.asarray(image))
    image = ImageOps.exif_transpose(image)
    if "A" not in image.getbands() and image.info.get("transparency") is None:
        return image.convert("RGB")
    image = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")


def flat(images):
    """The images in lists of lists."""
    if isinstance(images, (list, tuple)):
        return [image for part in images for image in flat(part)]
    return [images]
