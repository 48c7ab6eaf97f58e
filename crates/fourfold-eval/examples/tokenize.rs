//! Splits captions into words as [`fourfold_eval::tokenize`] does: a line of the standard input is a caption, a line of the
//! output its words. As metrics do, it takes each caption as followed by the next. `bench/eval/run` holds it to the tokenizer
//! of `pycocoevalcap`.

use std::io::{self, BufWriter, Write, read_to_string};

use fourfold_eval::tokenize::tokenize_before;

fn main() -> io::Result<()> {
    let text = read_to_string(io::stdin())?;
    let lines = || text.strip_suffix('\n').unwrap_or(&text).split('\n');
    let mut out = BufWriter::new(io::stdout().lock());
    for (line, next) in lines().zip(lines().skip(1).chain([""])) {
        writeln!(out, "{}", tokenize_before(line, next).join(" "))?;
    }
    out.flush()
}
