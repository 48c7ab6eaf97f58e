//! Reads captions from the standard input and writes their words, a caption a line, as the metrics
//! count them: `echo "A man's dog." | cargo run -p fourfold-eval --example tokenize`.

use std::io::{self, BufRead, Write};

fn main() -> io::Result<()> {
    let mut out = io::stdout().lock();
    for line in io::stdin().lock().lines() {
        writeln!(
            out,
            "{}",
            fourfold_eval::tokenize::tokenize(&line?).join(" ")
        )?;
    }
    Ok(())
}
