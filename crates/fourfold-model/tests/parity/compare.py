"""Opens the models that `parity.rs` wrote in `transformers` and compares what they compute.

    python compare.py FOLDER

Each folder below FOLDER/KIND holds a model and `expected.safetensors`: its input, and what Fourfold made of it. A model
has to load without a missing or unexpected tensor, its numbers have to agree, and greedy decoding has to give the same
tokens. The folders of `chat` hold `cases.json` instead, conversations with the tokens that Fourfold reads, and those of
`images` pictures with the pixels. `scripts/transformers-parity` runs both sides.
"""

import json
import pathlib
import sys
import warnings

import torch
import transformers as hf
from PIL import Image, ImageOps
from safetensors.torch import load_file

TOLERANCE = 1e-4
# Pixels where Fourfold resizes with another library than Pillow, which rounds otherwise, on average and at hard edges.
ROUNDED_MEAN, ROUNDED = 0.5 / 255, 12 / 255
# The searches of `SearchCase::all` in `parity.rs`, as `transformers` calls them.
RULES = dict(repetition_penalty=1.3, no_repeat_ngram_size=2)
SEARCHES = {
    "answer": dict(),
    "beams": dict(num_beams=3),
    "answer-ended": dict(ends=True),
    "beams-ended": dict(ends=True, num_beams=3),
    "beams-short": dict(ends=True, num_beams=4, length_penalty=-2.0),
    "beams-long": dict(ends=True, num_beams=4, length_penalty=3.0, min_new_tokens=4),
    "answer-rules": dict(ends=True, **RULES),
    "beams-rules": dict(ends=True, num_beams=3, **RULES),
}


def load(auto, folder, **options):
    """The model of a folder; every tensor has to be of use, and none may be missing."""
    model, info = auto.from_pretrained(folder, output_loading_info=True, **options)
    for fault in ["missing_keys", "unexpected_keys", "mismatched_keys", "error_msgs"]:
        assert not info.get(fault), f"{fault}: {sorted(map(str, info[fault]))}"
    return model.eval()


def difference(found, expected):
    """The largest difference, relative where numbers are above 1."""
    assert found.shape == expected.shape, f"shape {tuple(found.shape)}, expected {tuple(expected.shape)}"
    error = ((found - expected).abs() / expected.abs().clamp(min=1)).max().item()
    assert error <= TOLERANCE, f"differs by {error:.2e}"
    return error


def whole(model, expected):
    tokens = expected["tokens"].long()[None]
    inputs = {"input_ids": tokens, "pixel_values": expected["images"]}
    if model.config.model_type == "gemma3":
        inputs["token_type_ids"] = (tokens == model.config.image_token_id).long()
    error = difference(model(**inputs).logits[0], expected["logits"])
    # How images reach beams is a matter of the class: it is held to the answers here where the class is from here.
    ours = model.config.model_type == "fourfold"
    for name, options in SEARCHES.items():
        if name.startswith("beams") and not ours:
            continue
        options = dict(options)
        end = expected["end"].item() if options.pop("ends", False) else None
        answer = model.generate(**inputs, attention_mask=torch.ones_like(tokens), do_sample=False, max_new_tokens=12,
                                eos_token_id=end, pad_token_id=0, **options)
        found, wanted = answer[0, tokens.shape[1]:].tolist(), expected[name].tolist()
        if end in found:
            found = found[:found.index(end)]
        assert found == wanted, f"{name} {found}, expected {wanted}"
    return error


def llava(folder, expected):
    return whole(load(hf.LlavaForConditionalGeneration, folder), expected)


def gemma3(folder, expected):
    return whole(load(hf.Gemma3ForConditionalGeneration, folder), expected)


def native(folder, expected):
    # One class under two names: each model by one of them.
    autos = [hf.AutoModelForImageTextToText, hf.AutoModelForCausalLM]
    model = load(autos[len(folder.name) % 2], folder, trust_remote_code=True)
    error = whole(model, expected)
    padded(model, expected)
    return error


def padded(model, expected):
    """A prompt with padding before it, beside one without, answers as it does alone."""
    tokens, images = expected["tokens"].long(), expected["images"]
    padding = torch.zeros(3, dtype=torch.long)
    longer = torch.cat([tokens, torch.tensor([7, 8, 9])])
    batch = torch.stack([torch.cat([padding, tokens]), longer])
    mask = torch.ones_like(batch)
    mask[0, :3] = 0
    count = min(8, len(expected["answer"]))
    answer = model.generate(input_ids=batch, attention_mask=mask, pixel_values=torch.cat([images, images]),
                            do_sample=False, max_new_tokens=count, min_new_tokens=count)
    found, wanted = answer[0, batch.shape[1]:].tolist(), expected["answer"].tolist()[:count]
    assert found == wanted, f"greedy answer behind padding {found}, expected {wanted}"


def vision(folder, expected, adapter=None):
    config = hf.AutoConfig.from_pretrained(folder)
    options = {"add_pooling_layer": False} if config.model_type in ("vit", "deit") else {}
    model = load(hf.AutoModel, folder, **options)
    if adapter:
        model = adapted(model, adapter)
    output = model(pixel_values=expected["images"], output_hidden_states=True)
    cut = getattr(config, "final_norm", config.model_type != "clip_vision_model") is False
    features = output.hidden_states[-1] if cut else output.last_hidden_state
    wanted = expected["features"]
    return difference(features[:, features.shape[1] - wanted.shape[1]:], wanted)


def language(folder, expected, adapter=None):
    model = load(hf.AutoModelForCausalLM, folder)
    if adapter:
        model = adapted(model, adapter)
    return difference(model(expected["tokens"].long()[None]).logits[0], expected["logits"])


def chat(folder, _):
    """Conversations become the tokens that training saw, by the processor and, where there is no image, the tokenizer."""
    processor = hf.AutoProcessor.from_pretrained(folder, trust_remote_code=True)
    for case in json.loads((folder / "cases.json").read_text(encoding="utf-8")):
        messages, asks, wanted = case["messages"], case["asks"], case["tokens"]
        contents = [message["content"] for message in messages]
        parts = [part for content in contents if isinstance(content, list) for part in content]
        images = [Image.new("RGB", (16, 16)) for part in parts if part["type"] == "image"]
        text = processor.apply_chat_template(messages, add_generation_prompt=asks)
        found = processor(images=images or None, text=text, add_special_tokens=False)["input_ids"]
        found = found[0] if isinstance(found[0], list) else found
        # A document ends where its last answer does, before the token that ends it.
        found = found if asks else found[:len(wanted)]
        assert text.endswith(case.get("ends") or ""), f"{text!r} does not end with {case['ends']}"
        assert found == wanted, f"{text!r} is read as {found}, expected {wanted}"
        if not images:
            again = processor.tokenizer.apply_chat_template(messages, add_generation_prompt=asks, tokenize=False)
            assert again == text, f"the tokenizer writes {again!r}, the processor {text!r}"
    return 0.0


def images(folder, expected):
    """Pictures become the pixels that training saw."""
    processor = hf.AutoImageProcessor.from_pretrained(folder, trust_remote_code=True, backend="pil")
    fit = getattr(processor, "fourfold_fit", "center")
    ours = type(processor).__name__ == "FourfoldImageProcessor"
    largest = 0.0
    for name, wanted in expected.items():
        image = Image.open(folder / "pictures" / name)
        # The classes of transformers leave it to their callers to turn a picture upright.
        image = image if ours else ImageOps.exif_transpose(image)
        found = torch.as_tensor(processor(image, return_tensors="pt")["pixel_values"][0])
        assert found.shape == wanted.shape, f"{name}: shape {tuple(found.shape)}, expected {tuple(wanted.shape)}"
        deviation = torch.tensor(processor.image_std)[:, None, None]
        errors = ((found - wanted) * deviation).abs()
        error, mean = errors.max().item(), errors.mean().item()
        most, most_mean = (ROUNDED, ROUNDED_MEAN) if fit in ("pad", "stretch", "crop") else (1e-6, 1e-6)
        text = f"{name}: differs by up to {255 * error:.2f} levels, {255 * mean:.2f} on average"
        assert error <= most and mean <= most_mean, text
        largest = max(largest, error)
    return largest


def adapted(model, adapter):
    """The model with the adapters of a folder, of which every tensor has to find its place."""
    import peft

    model = peft.PeftModel.from_pretrained(model, adapter)
    stored = load_file(adapter / "adapter_model.safetensors")
    loaded = peft.get_peft_model_state_dict(model)
    assert stored.keys() == loaded.keys(), f"adapters differ: {sorted(stored.keys() ^ loaded.keys())}"
    assert all(torch.equal(stored[name], loaded[name]) for name in stored), "adapters have other numbers"
    return model.eval()


KINDS = {
    "llava": llava,
    "gemma3": gemma3,
    "native": native,
    "chat": chat,
    "images": images,
    "vision": vision,
    "language": language,
    "lora-vision": lambda folder, expected: vision(folder, expected, folder / "adapter"),
    "lora-language": lambda folder, expected: language(folder, expected, folder / "adapter"),
}


@torch.no_grad()
def main(root):
    hf.logging.set_verbosity_error()
    hf.logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    failures = 0
    for kind, check in KINDS.items():
        folders = sorted(path for path in (root / kind).iterdir() if path.is_dir())
        assert folders, f"{root / kind} holds no model"
        largest = 0.0
        for folder in folders:
            try:
                expected = folder / "expected.safetensors"
                largest = max(largest, check(folder, load_file(expected) if expected.exists() else None))
            except Exception as error:
                failures += 1
                print(f"{kind}/{folder.name}: {type(error).__name__}: {error}")
        print(f"{kind}: {len(folders)} models, largest difference {largest:.1e}")
    if failures:
        sys.exit(f"{failures} models differ in transformers {hf.__version__}")


main(pathlib.Path(sys.argv[1]))
