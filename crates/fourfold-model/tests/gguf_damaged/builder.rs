//! Files put together by hand.

/// A file put together by hand.
#[derive(Clone, Default)]
pub struct Builder {
    pub pairs: Vec<Vec<u8>>,
    pub tensors: Vec<Vec<u8>>,
    pub data: Vec<u8>,
}

pub fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

/// Codes of types.
pub const U8: u32 = 0;
pub const U32: u32 = 4;
pub const F32: u32 = 6;
pub const BOOL: u32 = 7;
pub const STRING: u32 = 8;
pub const ARRAY: u32 = 9;

/// The bytes of an array: type and number of its elements, then they.
pub fn array(kind: u32, count: u64, elements: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &count.to_le_bytes(), elements].concat()
}

impl Builder {
    /// Adds a key with the bytes of its value.
    pub fn pair(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.pairs
            .push([&string(key)[..], &kind.to_le_bytes(), value].concat());
        self
    }

    pub fn text(self, key: &str, value: &str) -> Self {
        self.pair(key, STRING, &string(value))
    }

    pub fn number(self, key: &str, value: u32) -> Self {
        self.pair(key, U32, &value.to_le_bytes())
    }

    pub fn float(self, key: &str, value: f32) -> Self {
        self.pair(key, F32, &value.to_le_bytes())
    }

    pub fn texts(self, key: &str, values: &[&str]) -> Self {
        let elements: Vec<u8> = values.iter().flat_map(|value| string(value)).collect();
        self.pair(key, ARRAY, &array(STRING, values.len() as u64, &elements))
    }

    /// Adds an entry of the table: the shape innermost first, the format's code, the offset.
    pub fn tensor(mut self, name: &str, shape: &[u64], kind: u32, offset: u64) -> Self {
        let mut entry = string(name);
        entry.extend((shape.len() as u32).to_le_bytes());
        entry.extend(shape.iter().flat_map(|size| size.to_le_bytes()));
        entry.extend(kind.to_le_bytes());
        entry.extend(offset.to_le_bytes());
        self.tensors.push(entry);
        self
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.bytes_with(3, self.tensors.len() as u64, self.pairs.len() as u64)
    }

    pub fn bytes_with(&self, version: u32, tensors: u64, pairs: u64) -> Vec<u8> {
        let mut bytes = b"GGUF".to_vec();
        bytes.extend(version.to_le_bytes());
        bytes.extend(tensors.to_le_bytes());
        bytes.extend(pairs.to_le_bytes());
        bytes.extend(self.pairs.concat());
        bytes.extend(self.tensors.concat());
        bytes.resize(bytes.len().next_multiple_of(32), 0);
        bytes.extend(&self.data);
        bytes
    }
}

/// Four numbers in a tensor "a".
pub fn small() -> Builder {
    let builder = Builder {
        data: vec![0; 32],
        ..Builder::default()
    };
    builder.tensor("a", &[2, 2], 0, 0)
}

/// The least that makes a Llama: no layers are there, and none are looked for.
pub fn llama() -> Builder {
    let builder = Builder {
        data: vec![0; 64],
        ..Builder::default()
    };
    builder
        .text("general.architecture", "llama")
        .number("llama.block_count", 1)
        .number("llama.embedding_length", 4)
        .number("llama.feed_forward_length", 8)
        .number("llama.attention.head_count", 2)
        .number("llama.context_length", 16)
        .float("llama.attention.layer_norm_rms_epsilon", 1e-5)
        .tensor("token_embd.weight", &[4, 3], 0, 0)
}

/// The least that makes a tokenizer of SentencePiece.
pub fn pieces() -> Builder {
    llama()
        .text("tokenizer.ggml.model", "llama")
        .texts("tokenizer.ggml.tokens", &["<unk>", "a", "b", "ab"])
        .pair(
            "tokenizer.ggml.token_type",
            ARRAY,
            &array(5, 4, &[2i32, 1, 1, 1].map(i32::to_le_bytes).concat()),
        )
        .pair(
            "tokenizer.ggml.scores",
            ARRAY,
            &array(
                F32,
                4,
                &[0f32, -2.0, -3.0, -1.0].map(f32::to_le_bytes).concat(),
            ),
        )
}

pub fn bpe(pre: &str, merges: &[&str]) -> Builder {
    llama()
        .text("tokenizer.ggml.model", "gpt2")
        .text("tokenizer.ggml.pre", pre)
        .texts("tokenizer.ggml.tokens", &["a", "b", "ab"])
        .texts("tokenizer.ggml.merges", merges)
}

pub fn without(mut builder: Builder, key: &str) -> Builder {
    let begin = string(key);
    builder.pairs.retain(|pair| !pair.starts_with(&begin));
    builder
}
