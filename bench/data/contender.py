"""PyTorch's side of the race of the loaders: a `DataLoader` with two workers, Pillow, `transformers`' fast image processor
and the same tokenizer. For each line of the standard input a round is run and its seconds and the most memory are printed.

    python contender.py siglip|clip FOLDER SAMPLES BATCH sample|batch

`sample` has the image processor prepare one image at a time in the data set, `batch` all of a batch where it is collated;
both in the workers. Workers stay from round to round.
"""

import json
import resource
import sys
import time
from pathlib import Path

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from transformers import CLIPImageProcessor, PreTrainedTokenizerFast, SiglipImageProcessor

ROOT = Path(__file__).resolve().parent.parent.parent
PROMPT = "Describe the picture."
WORKERS = 2
PROCESSORS = {
    "siglip": lambda: SiglipImageProcessor(size={"height": 224, "width": 224}, resample=3),
    "clip": lambda: CLIPImageProcessor(size={"shortest_edge": 224}, crop_size=224),
}


class Captions(Dataset):
    def __init__(self, folder, samples, processor):
        self.folder, self.samples, self.processor = folder, samples, processor
        self.rows = [json.loads(line) for line in (folder / "captions.jsonl").read_text().splitlines()]
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(ROOT / "assets/tiny-llama/tokenizer.json"))

    def __len__(self):
        return self.samples

    def __getitem__(self, index):
        row = self.rows[index % len(self.rows)]
        with Image.open(self.folder / row["image"]) as file:
            image = file.convert("RGB")
        if self.processor:
            image = self.processor(images=image, return_tensors="pt")["pixel_values"][0]
        prompt = self.tokenizer(PROMPT, add_special_tokens=False)["input_ids"]
        answer = self.tokenizer(row["text"], add_special_tokens=False)["input_ids"]
        return image, prompt + answer, [-100] * len(prompt) + answer


class Collate:
    def __init__(self, processor):
        self.processor = processor

    def __call__(self, rows):
        images, tokens, labels = zip(*rows)
        if self.processor:
            images = self.processor(images=list(images), return_tensors="pt")["pixel_values"]
        else:
            images = torch.stack(images)
        pad = torch.nn.utils.rnn.pad_sequence
        return {
            "pixel_values": images,
            "input_ids": pad([torch.tensor(row) for row in tokens], batch_first=True),
            "labels": pad([torch.tensor(row) for row in labels], batch_first=True, padding_value=-100),
        }


def peak_mib():
    """The most memory of this process and of its largest worker."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    workers = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return (own + workers) / 1024


def main():
    kind, folder, samples, batch, where = sys.argv[1:]
    processor = PROCESSORS[kind]()
    alone, together = (processor, None) if where == "sample" else (None, processor)
    loader = DataLoader(
        Captions(Path(folder), int(samples), alone),
        batch_size=int(batch),
        shuffle=True,
        num_workers=WORKERS,
        collate_fn=Collate(together),
        persistent_workers=True,
    )
    for _ in sys.stdin:
        begin = time.perf_counter()
        count = sum(len(made["input_ids"]) for made in loader)
        seconds = time.perf_counter() - begin
        assert count == int(samples), count
        print(json.dumps({"seconds": seconds, "samples": count, "peak_mib": peak_mib()}), flush=True)


if __name__ == "__main__":
    main()
