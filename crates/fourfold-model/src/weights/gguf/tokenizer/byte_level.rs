//! BPE over bytes, as of GPT-2, Llama 3 and Qwen.

use serde_json::{Value, json};

use super::super::metadata::Reader;
use super::{Parts, Vocabulary};
use crate::Result;

const PRE: &str = "tokenizer.ggml.pre";
const MERGES: &str = "tokenizer.ggml.merges";

/// GPT-2's words: contractions, letters, digits, other signs, white space but the blank before a word.
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// Llama 3's words: digits in threes, line breaks by themselves.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Qwen 2's: as Llama 3's, but for each digit by itself.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// How a text is cut into words.
struct Words {
    /// One after the other: each cuts what those before it left.
    patterns: &'static [&'static str],
    /// Whether a text is brought into Unicode's composed form at first.
    composed: bool,
    /// Whether a word that is a token is not looked at further.
    whole_words: bool,
    /// Whether texts begin with the token of a beginning where a file does not say.
    always_begins: bool,
}

const PLAIN: Words = Words {
    patterns: &[GPT2],
    composed: false,
    whole_words: false,
    always_begins: false,
};

/// The pre-tokenizers that are read, by llama.cpp's name (`llama-vocab.cpp`).
const NAMED: [(&str, Words); 5] = [
    ("gpt-2", PLAIN),
    (
        "llama-bpe",
        Words {
            patterns: &[LLAMA3],
            whole_words: true,
            always_begins: true,
            ..PLAIN
        },
    ),
    (
        "qwen2",
        Words {
            patterns: &[QWEN2],
            composed: true,
            ..PLAIN
        },
    ),
    (
        "smollm",
        Words {
            patterns: &[r"\p{N}", GPT2],
            ..PLAIN
        },
    ),
    (
        "default",
        Words {
            patterns: &[r"[\p{P}\$\+<=>\^~\|]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"],
            ..PLAIN
        },
    ),
];

/// The parts of a `tokenizer.json`, and whether texts begin with the token of a beginning where the file does not say.
pub(super) fn parts(metadata: &Reader, vocabulary: &Vocabulary) -> Result<(Parts, bool)> {
    let name = metadata.demand(PRE, Reader::text)?;
    let Some((_, words)) = NAMED.iter().find(|named| named.0 == name) else {
        let names = NAMED.map(|named| named.0).join(", ");
        return Err(metadata.fault(
            PRE,
            format!(
                "is '{name}'; read are {names}: take the model's tokenizer.json, or another model"
            ),
        ));
    };
    let split = |pattern: &&str| json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated", "invert": false });
    let bytes = json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false });
    let mut steps: Vec<Value> = words.patterns.iter().map(split).collect();
    steps.push(bytes.clone());
    let parts = Parts {
        normalizer: if words.composed {
            json!({ "type": "NFC" })
        } else {
            Value::Null
        },
        pre_tokenizer: json!({ "type": "Sequence", "pretokenizers": steps }),
        decoder: bytes,
        model: json!({
            "type": "BPE",
            "dropout": null,
            "unk_token": null,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": false,
            "byte_fallback": false,
            "ignore_merges": words.whole_words,
            "vocab": vocabulary.json(),
            "merges": merges(metadata, vocabulary)?,
        }),
    };
    Ok((parts, words.always_begins))
}

/// The merges, each `"left right"`: in what they become there is no blank, which is written as another letter.
fn merges(metadata: &Reader, vocabulary: &Vocabulary) -> Result<Vec<Value>> {
    let merge = |(index, merge): (usize, &str)| {
        let pair = merge.split_once(' ').filter(|(left, right)| {
            let whole = format!("{left}{right}");
            [left, right, whole.as_str()]
                .iter()
                .all(|token| vocabulary.find(token).is_some())
        });
        pair.map(|(left, right)| json!([left, right])).ok_or_else(|| {
            metadata.fault(
                MERGES,
                format!("has {merge:?} at {index}; expected two tokens that make a third: convert the model again"),
            )
        })
    };
    let all = metadata.demand(MERGES, Reader::texts)?;
    all.into_iter().enumerate().map(merge).collect()
}
