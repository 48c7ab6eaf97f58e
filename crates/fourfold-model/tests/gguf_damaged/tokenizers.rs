//! Tokenizers that are not read or do not fit together.

use tempfile::TempDir;

use super::builder::*;
use super::error;

#[test]
fn foreign_tokenizers_are_refused() {
    let folder = TempDir::new().unwrap();
    let plain = |key: &str| without(pieces(), key);
    let long = "a".repeat(2000);
    let scores = |count: u64, bytes: &[u8]| {
        plain("tokenizer.ggml.scores").pair(
            "tokenizer.ggml.scores",
            ARRAY,
            &array(F32, count, bytes),
        )
    };
    let tokens =
        |tokens: &[&str]| plain("tokenizer.ggml.tokens").texts("tokenizer.ggml.tokens", tokens);
    let cases: Vec<(Builder, &[&str])> = vec![
        (
            plain("tokenizer.ggml.model"),
            &["tokenizer.ggml.model", "missing"],
        ),
        (
            plain("tokenizer.ggml.model").text("tokenizer.ggml.model", "bert"),
            &["tokenizer.ggml.model", "'bert'", "gpt2", "llama"],
        ),
        (
            plain("tokenizer.ggml.tokens"),
            &["tokenizer.ggml.tokens", "missing"],
        ),
        (
            plain("tokenizer.ggml.scores"),
            &["tokenizer.ggml.scores", "missing"],
        ),
        (
            scores(1, &[0; 4]),
            &["tokenizer.ggml.scores", "1 elements", "4"],
        ),
        (scores(4, &[255; 16]), &["tokenizer.ggml.scores", "numbers"]),
        (
            tokens(&["<unk>", "a", "a", "ab"]),
            &["tokenizer.ggml.tokens", "\"a\" twice", "at 2"],
        ),
        (
            tokens(&["<unk>", "a"]),
            &["tokenizer.ggml.token_type", "4 elements", "expected 2"],
        ),
        (
            tokens(&["<unk>", "a", "b", &long]),
            &["tokenizer.ggml.tokens", "2000 bytes at 3"],
        ),
        (
            tokens(&["none", "a", "b", "ab"]),
            &["tokenizer.ggml.unknown_token_id", "missing"],
        ),
        (
            pieces().number("tokenizer.ggml.bos_token_id", 4),
            &["bos_token_id", "is 4", "4 tokens"],
        ),
        (
            pieces().pair("tokenizer.ggml.remove_extra_whitespaces", BOOL, &[1]),
            &["remove_extra_whitespaces", "true"],
        ),
        (
            without(bpe("gpt-2", &[]), "tokenizer.ggml.pre"),
            &["tokenizer.ggml.pre", "missing"],
        ),
        (
            bpe("tekken", &[]),
            &[
                "tokenizer.ggml.pre",
                "'tekken'",
                "gpt-2, llama-bpe, qwen2, smollm, default",
            ],
        ),
        (
            bpe("gpt-2", &["a b", "b a"]),
            &["tokenizer.ggml.merges", "\"b a\" at 1"],
        ),
        (
            bpe("gpt-2", &["ab"]),
            &["tokenizer.ggml.merges", "\"ab\" at 0"],
        ),
    ];
    for (builder, parts) in cases {
        let message = error(&folder, &builder.bytes(), |file| {
            file.tokenizer().map(|_| ())
        });
        assert!(
            parts.iter().all(|part| message.contains(part)),
            "{message}: {parts:?}"
        );
    }
}
