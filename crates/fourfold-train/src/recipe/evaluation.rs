//! `[evaluation.NAME]`: a data source with what is measured on it.

use std::path::PathBuf;

use fourfold_data::SourceConfig;
pub use fourfold_eval::Metric;
use serde::{Deserialize, Serialize};
use toml::Table;

use super::key::{KeyError, KeyPath};
use super::{Search, strict};

/// What the model is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Baseline {
    /// The answer of the training image nearest in raw pixels.
    PixelNn,
    /// The model, shown the image of another sample.
    ShuffledImages,
    /// The most frequent training answer to the question.
    Majority,
}

impl Baseline {
    /// What predictions are called by beside the model's: the baselines, and what comes with `shuffled_images`.
    pub const SYSTEMS: [&str; 4] = ["pixel_nn", "shuffled_images", "majority", "blind"];
}

/// One evaluation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Evaluation {
    /// Images, prompts and reference answers.
    #[serde(flatten)]
    pub source: SourceConfig,
    /// How and how far it is evaluated.
    #[serde(flatten)]
    pub measure: Measure,
}

/// What one case of an evaluation is made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CaseUnit {
    /// All samples of one image and prompt: their answers are its references.
    #[default]
    Image,
    /// Each sample.
    Sample,
}

impl CaseUnit {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// The keys that an evaluation adds to a data source.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// What is measured.
    pub metrics: Vec<Metric>,
    /// What the model is compared with.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub baselines: Vec<Baseline>,
    /// Names of `[data.NAME]` that `pixel_nn` and `majority` take their answers from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub baseline_data: Vec<String>,
    /// The column with a list of all that counts as right, as `answers` of VQA; the answer alone when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub references: Option<String>,
    /// What one case is made of.
    #[serde(default, skip_serializing_if = "CaseUnit::is_default")]
    pub cases: CaseUnit,
    /// The column that names cases, as `question_id`: samples with one name are one case, whose references are their
    /// answers, each as often as it is there. File and row when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The column that says of which kind a case is, as `domain` of nocaps: each kind is scored by itself too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// A folder of WordNet (`dict`), by which METEOR knows synonyms.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wordnet: Option<PathBuf>,
    /// Cases are drawn evenly down to this many.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
    /// How answers are searched for.
    #[serde(flatten, skip_deserializing)]
    pub search: Search,
}

const MEASURE_KEYS: [&str; 9] = [
    "metrics",
    "baselines",
    "baseline_data",
    "references",
    "cases",
    "id",
    "group",
    "wordnet",
    "limit",
];

impl Measure {
    /// What its metrics lack, if they do.
    pub fn fault(&self) -> Option<&'static str> {
        let lacks = self.metrics.contains(&Metric::VqaAccuracy) && self.references.is_none();
        lacks.then_some(
            "vqa_accuracy compares with what several people said: name the column of that list, as \
             `references = \"answers\"` where the data are VQA's",
        )
    }
}

impl Evaluation {
    pub(super) fn read(table: Table, path: &KeyPath) -> Result<Self, KeyError> {
        Self::read_among(table, path, &[], &[])
    }

    /// The same; where a key is unknown, keys that were taken out before, `also`, are proposed too, and those of `not` are
    /// not.
    pub(super) fn read_among(
        mut table: Table,
        path: &KeyPath,
        also: &[&str],
        not: &[&str],
    ) -> Result<Self, KeyError> {
        let mut take = |keys: &[&str]| -> Table {
            let taken = keys.iter().filter_map(|key| table.remove_entry(*key));
            taken.collect()
        };
        let (measure, search) = (take(&MEASURE_KEYS), take(&Search::KEYS));
        let measure: Measure = strict::read_rest(measure, path, &[])?;
        Ok(Self {
            measure: Measure {
                search: strict::read_rest(search, path, &[])?,
                ..measure
            },
            source: strict::read_among(
                table,
                path,
                &[&MEASURE_KEYS[..], &Search::KEYS, also].concat(),
                not,
            )?,
        })
    }
}
