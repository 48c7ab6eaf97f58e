//! Splits captions into words as [`fourfold_eval::tokenize`] does: a line of the standard input is a caption, a line of the
//! output its words. `bench/eval/run` holds it to the tokenizer of `pycocoevalcap`.

use std::io::{self, BufRead, BufWriter, Write};

use fourfold_eval::tokenize::tokenize;

fn main() -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    for line in io::stdin().lock().lines() {
        writeln!(out, "{}", tokenize(&line?).join(" "))?;
    }
    out.flush()
}
