"""Images as a model that was trained with Fourfold takes them, for `transformers` 4.57 and newer."""

import numpy as np
from PIL import Image
from transformers.image_processing_base import BatchFeature, ImageProcessingMixin


class FourfoldImageProcessor(ImageProcessingMixin):
    """Square pictures from pictures of any shape, by the keys of `preprocessor_config.json`.

    With `do_pad` the whole picture, centred on white; with `do_center_crop` the largest square of its middle; otherwise
    the whole picture, stretched.
    """

    model_input_names = ["pixel_values"]

    def __init__(self, size=None, crop_size=None, resample=3, do_pad=False, do_center_crop=False, rescale_factor=1 / 255,
                 image_mean=(0.5, 0.5, 0.5), image_std=(0.5, 0.5, 0.5), **kwargs):
        super().__init__(**kwargs)
        self.size, self.crop_size, self.resample = size, crop_size, resample
        self.do_pad, self.do_center_crop, self.rescale_factor = do_pad, do_center_crop, rescale_factor
        self.image_mean, self.image_std = list(image_mean), list(image_std)

    def __call__(self, images, return_tensors=None, **kwargs):
        return self.preprocess(images, return_tensors=return_tensors)

    def preprocess(self, images, return_tensors=None, **kwargs):
        """`pixel_values` `[images, 3, height, width]` of PIL images or arrays `[height, width, 3]` of bytes, however
        they are nested in lists."""
        mean, std = (np.array(values, dtype=np.float32) for values in (self.image_mean, self.image_std))
        pixels = [np.asarray(self.square(image), dtype=np.float32) * self.rescale_factor for image in flat(images)]
        pixels = [((each - mean) / std).transpose(2, 0, 1).astype(np.float32) for each in pixels]
        return BatchFeature({"pixel_values": np.stack(pixels)}, tensor_type=return_tensors)

    def square(self, image):
        if not isinstance(image, Image.Image):
            image = Image.fromarray(np.asarray(image))
        image, side = image.convert("RGB"), (self.crop_size or self.size)["height"]
        width, height = image.size
        if self.do_pad:
            longest = max(width, height)
            inner = [min(max(int(part * side / longest + 0.5), 1), side) for part in (width, height)]
            square = Image.new("RGB", (side, side), "white")
            square.paste(image.resize(inner, self.resample), [(side - part) // 2 for part in inner])
            return square
        if self.do_center_crop:
            shortest = min(width, height)
            left, top = (width - shortest) / 2, (height - shortest) / 2
            return image.resize((side, side), self.resample, box=(left, top, left + shortest, top + shortest))
        return image.resize((side, side), self.resample)


def flat(images):
    """The images in lists of lists."""
    if isinstance(images, (list, tuple)):
        return [image for part in images for image in flat(part)]
    return [images]
