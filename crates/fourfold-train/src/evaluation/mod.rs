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
mod compare;
mod compare_page;
mod figures;
mod journal;
mod pixels;
mod runner;
mod table;
mod task_run;
#[cfg(test)]
mod tests;

pub use baselines::{blind, majority, shuffled};
pub use cases::{Case, Cases};
pub use compare::{AnswerPair, Comparing, Comparison, FigurePair, compare, predictions_in};
pub use compare_page::{comparison_page, comparison_text};
pub use figures::{
    Asked, EvaluationScores, Figures, GroupScores, Intervals, Judge, Prediction, Scored, Scores,
    score,
};
pub use journal::{Journal, Settings, Shard, begin_anew};
pub use pixels::PixelIndex;
pub use runner::{
    Evaluated, Evaluator, Quiet, Watch, check_evaluations, evaluate_recipe, read_scores,
    training_sources, write_predictions,
};
pub use table::{Layout, table};
pub use task_run::{Opened, TaskRun, weights_of};
