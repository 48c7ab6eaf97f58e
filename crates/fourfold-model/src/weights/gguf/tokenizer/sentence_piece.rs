//! SentencePiece's BPE, as of Llama 2 and Gemma.

use std::cmp::Ordering;

use serde_json::{Value, json};

use super::super::metadata::Reader;
use super::{Parts, Vocabulary};
use crate::Result;

const SCORES: &str = "tokenizer.ggml.scores";
const UNKNOWN_ID: &str = "tokenizer.ggml.unknown_token_id";

/// Most bytes of a piece. SentencePiece makes pieces of 16 letters unless told otherwise; as each is cut in all ways,
/// the limit keeps a damaged file from taking hours.
const LONGEST_PIECE: usize = 1024;

/// What a blank is written as.
const BLANK: &str = "\u{2581}";

pub(super) fn parts(metadata: &Reader, vocabulary: &Vocabulary) -> Result<Parts> {
    let prefix = metadata
        .boolean("tokenizer.ggml.add_space_prefix")?
        .unwrap_or(true);
    if metadata.boolean("tokenizer.ggml.remove_extra_whitespaces")? == Some(true) {
        return Err(metadata.fault(
            "tokenizer.ggml.remove_extra_whitespaces",
            "is true, which is not read here; take the model's tokenizer.json, or another model",
        ));
    }
    let unknown = match vocabulary.id(metadata, UNKNOWN_ID)? {
        Some(id) => Some(vocabulary.tokens[id as usize]),
        None => vocabulary.find("<unk>").map(|_| "<unk>"),
    };
    if unknown.is_none() && !vocabulary.has_bytes() {
        return Err(metadata.fault(
            UNKNOWN_ID,
            "is missing, and no token stands for a byte: some texts have no tokens; convert the model again",
        ));
    }
    let blanks = json!({ "type": "Replace", "pattern": { "String": " " }, "content": BLANK });
    let mut decoders = vec![
        json!({ "type": "Replace", "pattern": { "String": BLANK }, "content": " " }),
        json!({ "type": "ByteFallback" }),
        json!({ "type": "Fuse" }),
    ];
    let mut normalizer = blanks;
    if prefix {
        // A text begins with a blank, and again behind each added token, as in llama.cpp.
        let prepend = json!({ "type": "Prepend", "prepend": BLANK });
        normalizer = json!({ "type": "Sequence", "normalizers": [prepend, normalizer] });
        decoders.push(json!({ "type": "Strip", "content": " ", "start": 1, "stop": 0 }));
    }
    Ok(Parts {
        normalizer,
        // A text is one word: pieces may reach over blanks.
        pre_tokenizer: Value::Null,
        decoder: json!({ "type": "Sequence", "decoders": decoders }),
        model: json!({
            "type": "BPE",
            "dropout": null,
            "unk_token": unknown,
            "continuing_subword_prefix": null,
            "end_of_word_suffix": null,
            "fuse_unk": true,
            "byte_fallback": vocabulary.has_bytes(),
            "ignore_merges": false,
            "vocab": vocabulary.json(),
            "merges": merges(metadata, vocabulary)?,
        }),
    })
}

/// The merges that SentencePiece's scores mean.
///
/// It merges any two neighbours whose text together is a piece, the piece of the highest score first. As a list, that is
/// every way to cut each piece into two pieces, in the order of scores. Ways to cut the same piece are ranked by the ids
/// of their parts, as converters of `transformers` do; where two of them apply in one text, SentencePiece takes the one
/// on the left.
fn merges(metadata: &Reader, vocabulary: &Vocabulary) -> Result<Vec<Value>> {
    let scores = metadata.demand(SCORES, Reader::floats)?;
    let tokens = &vocabulary.tokens;
    if scores.len() != tokens.len() || scores.iter().any(|score| score.is_nan()) {
        return Err(metadata.fault(
            SCORES,
            format!(
                "has {} elements; expected {} numbers, one for each token: convert the model again",
                scores.len(),
                tokens.len()
            ),
        ));
    }
    let mut order: Vec<usize> = (0..tokens.len())
        .filter(|id| vocabulary.is_text(*id))
        .collect();
    // Stable: pieces of the same score stay in the order of their ids.
    let by_score = |one: &usize, other: &usize| scores[*other].partial_cmp(&scores[*one]);
    order.sort_by(|one, other| by_score(one, other).unwrap_or(Ordering::Equal));
    let text = |part: &str| {
        vocabulary
            .find(part)
            .filter(|id| vocabulary.is_text(*id as usize))
    };
    let mut merges = Vec::new();
    for id in order {
        let piece = tokens[id];
        if piece.len() > LONGEST_PIECE {
            return Err(metadata.fault(
                "tokenizer.ggml.tokens",
                format!(
                    "has a piece of {} bytes at {id}, and {LONGEST_PIECE} are read at most; the file is damaged, copy it again",
                    piece.len()
                ),
            ));
        }
        let cuts = piece.char_indices().skip(1);
        let mut pairs: Vec<_> = cuts
            .filter_map(|(at, _)| {
                let (left, right) = piece.split_at(at);
                Some(((text(left)?, text(right)?), (left, right)))
            })
            .collect();
        pairs.sort_by_key(|(ids, _)| *ids);
        merges.extend(
            pairs
                .into_iter()
                .map(|(_, (left, right))| json!([left, right])),
        );
    }
    Ok(merges)
}
