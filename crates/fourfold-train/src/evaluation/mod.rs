//! Measuring a model on held-out data, beside baselines on the same samples.
//!
//! ```text
//! Source ─► cases ─┬─► model ───────────► predictions ─┐
//!                  ├─► images shuffled ─► predictions ─┼─► scores ─► scores.json, table
//!                  ├─► images taken away                │
//!                  └─► nearest pixels, majority answer ─┘
//! ```

mod baselines;
mod cases;
mod figures;
mod pixels;
mod runner;
mod table;
#[cfg(test)]
mod tests;

pub use baselines::{blind, majority, shuffled};
pub use cases::{Case, Cases};
pub use figures::{
    EvaluationScores, Figures, GroupScores, Intervals, Prediction, Scored, Scores, score,
};
pub use pixels::PixelIndex;
pub use runner::{
    Evaluated, Evaluator, Quiet, Watch, check_evaluations, evaluate_recipe, read_scores,
    training_sources, write_predictions,
};
pub use table::{Layout, table};
