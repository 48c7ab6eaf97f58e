//! `fourfold ask`: answers questions about images.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use crate::questions::{Asking, gather};

/// Answers a question about an image
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  fourfold ask --model runs/quickstart cat.png \"Is this an animal?\"
  fourfold ask --model runs/quickstart --json --jsonl questions.jsonl

A line of the JSON lines file is {\"image\": \"cat.png\", \"question\": \"Is this an animal?\"}, the path relative to the \
file; \"id\" is optional. What cannot be answered is told on the standard error; the others are answered all the same.")]
pub struct Ask {
    /// An image file: PNG, JPEG, WebP, GIF or BMP
    #[arg(required_unless_present = "jsonl")]
    image: Option<PathBuf>,
    /// What is asked about it
    #[arg(required_unless_present = "jsonl")]
    question: Option<String>,
    /// Read images and questions from a JSON lines file
    #[arg(long, value_name = "FILE", conflicts_with_all = ["image", "question"])]
    jsonl: Option<PathBuf>,
    #[command(flatten)]
    asking: Asking,
}

impl Ask {
    /// Runs the command.
    ///
    /// # Errors
    /// When an image or the model cannot be read.
    pub fn run(self) -> Result<()> {
        self.asking.start()?;
        let images: Vec<PathBuf> = self.image.into_iter().collect();
        let keys = ["question", "prompt"];
        let items = gather(
            &images,
            self.question.as_deref(),
            self.jsonl.as_deref(),
            &keys,
        )?;
        self.asking.answer(items)
    }
}
