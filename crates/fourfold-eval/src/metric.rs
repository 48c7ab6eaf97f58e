//! What can be measured, by name.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A metric; each gives one [`Figure`](crate::Figure) or several.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Metric {
    /// The share of answers that equal a reference once both are normalised: lower case, white space trimmed
    /// and collapsed to single spaces, final punctuation marks stripped; nothing else ([`crate::answers`]).
    ExactMatch,
    /// The very same figure as [`Metric::ExactMatch`], under the name that it has for answers to questions. No
    /// articles are dropped and no number words replaced, unlike in [`Metric::VqaAccuracy`].
    Accuracy,
    /// How far the answer is what several people said, as the VQA challenge has it ([`crate::vqa`]).
    VqaAccuracy,
    /// CIDEr-D, which COCO's tool prints as CIDEr ([`crate::cider`]).
    CiderD,
    /// CIDEr as first published, without clipping and length penalty ([`crate::cider`]).
    Cider,
    /// BLEU-1 to BLEU-4 ([`crate::bleu`]).
    Bleu,
    /// ROUGE-L ([`crate::rouge`]).
    RougeL,
    /// METEOR by words, stems and, where a WordNet is given, synonyms ([`crate::meteor`]).
    Meteor,
    /// Words in common with the best reference, as F1 and recall ([`crate::overlap`]).
    TokenF1,
    /// Yes or no to each question, and the usual figures of open ones ([`crate::closed`]).
    OpenClosed,
    /// The answer to yes-or-no questions about what is there: accuracy, precision, recall, F1 and how often yes is
    /// said, as POPE has them ([`crate::yes_no`]).
    YesNo,
    /// Equal, or a number within 5 % of the reference, as ChartQA has it ([`crate::relaxed`]).
    RelaxedAccuracy,
}

impl Metric {
    /// All of them, in the order of tables.
    pub const ALL: [Self; 12] = [
        Self::ExactMatch,
        Self::Accuracy,
        Self::VqaAccuracy,
        Self::RelaxedAccuracy,
        Self::YesNo,
        Self::OpenClosed,
        Self::TokenF1,
        Self::CiderD,
        Self::Cider,
        Self::Bleu,
        Self::RougeL,
        Self::Meteor,
    ];

    /// Its name in recipes, tasks and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::ExactMatch => "exact_match",
            Self::Accuracy => "accuracy",
            Self::VqaAccuracy => "vqa_accuracy",
            Self::CiderD => "cider_d",
            Self::Cider => "cider",
            Self::Bleu => "bleu",
            Self::RougeL => "rouge_l",
            Self::Meteor => "meteor",
            Self::TokenF1 => "token_f1",
            Self::OpenClosed => "open_closed",
            Self::YesNo => "yes_no",
            Self::RelaxedAccuracy => "relaxed_accuracy",
        }
    }

    /// The names of the figures that it gives; METEOR gives the second where it knows synonyms, else the first.
    pub fn figures(self) -> &'static [&'static str] {
        match self {
            Self::ExactMatch => &["exact_match"],
            Self::Accuracy => &["accuracy"],
            Self::VqaAccuracy => &["vqa_accuracy"],
            Self::RelaxedAccuracy => &["relaxed_accuracy"],
            Self::YesNo => &[
                "yes_no_accuracy",
                "yes_precision",
                "yes_recall",
                "yes_f1",
                "yes_share",
            ],
            Self::OpenClosed => &[
                "overall_accuracy",
                "closed_accuracy",
                "open_exact_match",
                "open_f1",
                "open_recall",
                "open_bleu1",
            ],
            Self::TokenF1 => &["token_f1", "token_recall"],
            Self::CiderD => &["cider_d"],
            Self::Cider => &["cider"],
            Self::Bleu => &["bleu1", "bleu2", "bleu3", "bleu4"],
            Self::RougeL => &["rouge_l"],
            Self::Meteor => &["meteor", "meteor_wordnet"],
        }
    }

    /// Whether it has a meaning for captions; others are for answers to questions.
    pub fn suits_captions(self) -> bool {
        !matches!(
            self,
            Self::VqaAccuracy | Self::YesNo | Self::OpenClosed | Self::RelaxedAccuracy
        )
    }

    /// Whether it compares words of captions.
    pub(crate) fn reads_captions(self) -> bool {
        matches!(self, Self::CiderD | Self::Cider | Self::Bleu | Self::RougeL)
    }
}

impl fmt::Display for Metric {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Metric {
    type Err = String;

    /// # Errors
    /// Names the metrics that there are.
    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|metric| metric.name() == word);
        found.ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            format!("unknown metric '{word}' (there are: {names})")
        })
    }
}

/// Titles of figures in tables and whether they are shares, shown in percent; in the order of tables.
pub const TITLES: [(&str, &str, bool); 26] = [
    ("exact_match", "exact match %", true),
    ("accuracy", "accuracy %", true),
    ("vqa_accuracy", "VQA accuracy %", true),
    ("relaxed_accuracy", "relaxed accuracy %", true),
    ("yes_no_accuracy", "POPE accuracy %", true),
    ("yes_precision", "precision %", true),
    ("yes_recall", "recall %", true),
    ("yes_f1", "F1 %", true),
    ("yes_share", "yes %", true),
    ("overall_accuracy", "overall accuracy %", true),
    ("closed_accuracy", "yes/no accuracy %", true),
    ("open_exact_match", "open exact match %", true),
    ("open_f1", "open F1 %", true),
    ("open_recall", "open recall %", true),
    ("open_bleu1", "open BLEU-1 %", true),
    ("token_f1", "token F1 %", true),
    ("token_recall", "token recall %", true),
    ("cider_d", "CIDEr-D", false),
    ("cider", "CIDEr", false),
    ("bleu1", "BLEU-1 %", true),
    ("bleu2", "BLEU-2 %", true),
    ("bleu3", "BLEU-3 %", true),
    ("bleu4", "BLEU-4 %", true),
    ("rouge_l", "ROUGE-L %", true),
    ("meteor", "METEOR %", true),
    ("meteor_wordnet", "METEOR (WordNet) %", true),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_read_back() {
        for metric in Metric::ALL {
            assert_eq!(metric.name().parse(), Ok(metric));
            let json = serde_json::to_value(metric).unwrap();
            assert_eq!(json, metric.name());
        }
        let message = "ciderd".parse::<Metric>().unwrap_err();
        assert!(message.contains("cider_d"), "{message}");
    }
}
