//! What can be wrong with a recipe whose keys are all known.

use super::PrecisionChoice;
use fourfold_data::{Augment, DataError};
use fourfold_model::Part;

use super::key::{KeyError, KeyPath};
use super::{Backbone, Baseline, LossScale, Recipe, Stage};
use crate::loss_scale;

type Checked = Result<(), KeyError>;

impl Recipe {
    /// Checks values against each other; the error knows the key.
    pub(super) fn validate(&self) -> Checked {
        let plain = |c: char| c.is_alphanumeric() || "-_. ".contains(c);
        demand(!self.name.is_empty(), "name".into(), || {
            "missing or empty: expected `name = \"…\"` at the top; the run folder is called so"
                .into()
        })?;
        demand(
            self.name.chars().all(plain)
                && !self.name.starts_with('.')
                && self.name.trim() == self.name,
            "name".into(),
            || {
                "expected letters, digits, '-', '_', '.' and spaces between them: the run folder is called so"
                    .into()
            },
        )?;
        demand(self.threads != Some(0), "threads".into(), || {
            "expected at least 1; remove the key to use all cores".into()
        })?;
        self.validate_model()?;
        self.validate_tokenizer()?;
        self.validate_sources()?;
        self.validate_training()?;
        demand(!self.stage.is_empty(), "stage".into(), || {
            "there is none, so nothing would train; give at least one [[stage]]".into()
        })?;
        let adapted = self.stage.iter().any(|stage| stage.trains(Part::Lora));
        demand(
            adapted || self.model.lora.is_none(),
            KeyPath::from("model").key("lora"),
            || {
                "no stage trains `lora`, so the adapters would stay without effect; train them, or remove this section".into()
            },
        )?;
        for (index, stage) in self.stage.iter().enumerate() {
            let path = KeyPath::from("stage").index(index);
            let earlier = self.stage[..index].iter().find(|s| s.name == stage.name);
            demand(earlier.is_none(), path.key("name"), || {
                format!(
                    "there are two stages called '{}'; give each its own name",
                    stage.name
                )
            })?;
            self.validate_stage(stage, &path)?;
        }
        self.validate_evaluations()?;
        self.validate_limits()
    }

    fn validate_model(&self) -> Checked {
        let model = &self.model;
        let parts = [
            ("vision", model.vision.is_some()),
            ("projector", model.projector.is_some()),
            ("language", model.language.is_some()),
        ];
        for (part, given) in parts {
            let path = KeyPath::from("model").key(part);
            if model.from.is_some() {
                demand(!given, path, || {
                    "`model.from` brings the whole model; remove this section, or remove `from` and \
                     give all three parts"
                        .into()
                })?;
            } else {
                demand(given, path, || {
                    format!(
                        "missing: give [model.{part}], or `from = \"FOLDER\"` of a model that \
                         Fourfold wrote"
                    )
                })?;
            }
        }
        Ok(())
    }

    fn validate_tokenizer(&self) -> Checked {
        let path = KeyPath::from("tokenizer");
        let Some(tokenizer) = &self.tokenizer else {
            let new = matches!(self.model.language, Some(Backbone::New(_)));
            return demand(!new, path, || {
                "a language model with random weights brings no tokenizer; give [tokenizer] with \
                 `from = \"FILE\"` or `train = { vocabulary = 4096, on = [\"DATA\"] }`"
                    .into()
            });
        };
        let own = matches!(self.model.language, Some(Backbone::Pretrained { .. }))
            || self.model.from.is_some();
        let (from, train) = (tokenizer.from.is_some(), tokenizer.train.is_some());
        let adds_alone = own && !from && !train && !tokenizer.add.is_empty();
        demand(from != train || adds_alone, path.clone(), || {
            "give either `from` or `train`; `add` alone adds to the tokenizer of a pretrained language model"
                .into()
        })?;
        let Some(train) = &tokenizer.train else {
            return Ok(());
        };
        let path = path.key("train");
        demand(
            matches!(self.model.language, Some(Backbone::New(_))),
            path.clone(),
            || {
                "a trained tokenizer needs a language model with random weights: pretrained ones know \
                 the tokens of their own; remove [tokenizer]"
                    .into()
            },
        )?;
        demand(train.vocabulary > 256, path.key("vocabulary"), || {
            "expected more than 256: the single bytes alone take that many".into()
        })?;
        demand(!train.on.is_empty(), path.key("on"), || {
            "expected at least one name of a [data.NAME]".into()
        })?;
        train
            .on
            .iter()
            .enumerate()
            .try_for_each(|(index, name)| self.known_data(name, path.key("on").index(index)))
    }

    fn validate_sources(&self) -> Checked {
        let data = self
            .data
            .iter()
            .map(|(name, source)| ("data", name, source));
        let evaluations = self.evaluation.iter();
        let evaluations = evaluations.map(|(name, e)| ("evaluation", name, &e.source));
        for (section, name, source) in data.chain(evaluations) {
            let path = KeyPath::from(section).key(name);
            source.check().map_err(|error| match error {
                DataError::Config { key, message } => KeyError::at(path.key(key), message),
                other => KeyError::at(path, other.to_string()),
            })?;
        }
        Ok(())
    }

    fn validate_training(&self) -> Checked {
        let path = KeyPath::from("training");
        let training = &self.training;
        let counts = [
            ("checkpoint_every", training.checkpoint_every),
            ("keep_checkpoints", training.keep_checkpoints),
            ("sample_every", training.sample_every),
        ];
        for (key, count) in counts {
            demand(count > 0, path.key(key), || "expected at least 1".into())?;
        }
        demand(
            (0.0..=1.0).contains(&training.max_skipped),
            path.key("max_skipped"),
            || "expected a part from 0 to 1; 0.01 lets a hundredth of a source be broken".into(),
        )?;
        let kept = self.stage.iter().any(|stage| stage.cache_features);
        demand(
            kept || training.feature_cache.is_none(),
            path.key("feature_cache"),
            || {
                "no stage keeps features, so none would be stored; write `cache_features = true` into a stage whose \
                 vision encoder is frozen, or remove this key"
                    .into()
            },
        )?;
        let Some(samples) = &training.samples else {
            return Ok(());
        };
        let path = path.key("samples");
        demand(samples.count > 0, path.key("count"), || {
            "expected at least 1; remove `samples` to caption nothing".into()
        })?;
        demand(
            samples.max_new_tokens > 0,
            path.key("max_new_tokens"),
            at_least_one,
        )?;
        let known: Vec<&String> = self.data.keys().chain(self.evaluation.keys()).collect();
        match known.contains(&&samples.data) {
            true => Ok(()),
            false => Err(KeyError::unknown(
                path.key("data"),
                "data name",
                &samples.data,
                &known,
            )),
        }
    }

    fn validate_stage(&self, stage: &Stage, path: &KeyPath) -> Checked {
        demand(
            !stage.name.is_empty() && !stage.name.contains('.'),
            path.key("name"),
            || "expected a name without dots".into(),
        )?;
        demand(!stage.train.is_empty(), path.key("train"), || {
            "nothing would train; expected at least one of vision, projector, language, lora".into()
        })?;
        demand(
            self.model.lora.is_some() || !stage.trains(Part::Lora),
            path.key("train"),
            || "there are no adapters to train; give [model.lora]".into(),
        )?;
        for (index, part) in stage.train.iter().enumerate() {
            demand(
                !stage.train[..index].contains(part),
                path.key("train").index(index),
                || format!("`{part}` is named twice"),
            )?;
        }
        let entries = stage.mixture.entries();
        demand(!entries.is_empty(), path.key("mixture"), || {
            "expected at least one NAME = WEIGHT of a [data.NAME]".into()
        })?;
        for (index, (name, weight)) in entries.iter().enumerate() {
            let mixture = path.key("mixture");
            let path = match weight {
                Some(_) => mixture.key(*name),
                None => mixture.index(index),
            };
            self.known_data(name, path.clone())?;
            demand(
                !entries[..index].iter().any(|(n, _)| n == name),
                path.clone(),
                || format!("'{name}' is named twice"),
            )?;
            demand(
                weight.is_none_or(|w| w.is_finite() && w > 0.0),
                path,
                || "expected a weight above 0; remove the entry to leave the data out".into(),
            )?;
        }
        let lengths = [
            stage.samples.is_some(),
            stage.epochs.is_some(),
            stage.tokens.is_some(),
        ];
        let given = lengths.iter().filter(|given| **given).count();
        demand(given == 1, path.clone(), || {
            let given = match given {
                0 => "none is given",
                2 => "both are given",
                _ => "all are given",
            };
            format!(
                "stage '{}': expected `samples` or `epochs` (or `tokens`), and {given}",
                stage.name
            )
        })?;
        demand(
            (stage.batch > 0) != stage.packs.is_some(),
            path.key("batch"),
            || match stage.packs {
                Some(_) => {
                    "expected `batch` (documents an update) or `packs`, and both are given".into()
                }
                None => "expected at least 1: documents an update; or give `packs`".into(),
            },
        )?;
        demand(stage.tokens != Some(0), path.key("tokens"), at_least_one)?;
        demand(stage.packs != Some(0), path.key("packs"), at_least_one)?;
        demand(stage.samples != Some(0), path.key("samples"), at_least_one)?;
        let epochs = stage.epochs.unwrap_or(1.0);
        demand(
            epochs.is_finite() && epochs > 0.0,
            path.key("epochs"),
            || "expected a number above 0".into(),
        )?;
        let counts = [
            ("pack_tokens", stage.pack_tokens),
            ("pack_images", stage.pack_images),
            ("max_tokens", stage.max_tokens.unwrap_or(1)),
        ];
        for (key, count) in counts {
            demand(count > 0, path.key(key), at_least_one)?;
        }
        demand(
            stage.max_tokens.is_none_or(|max| max <= stage.pack_tokens),
            path.key("max_tokens"),
            || {
                format!(
                    "a document must fit a pack: expected at most pack_tokens = {}",
                    stage.pack_tokens
                )
            },
        )?;
        validate_numbers(stage, path)?;
        self.validate_loss_scale(stage, path)?;
        let endless = |augment: &Augment| !augment.is_none() && augment.views.is_none();
        demand(
            !stage.cache_features || !stage.trains(Part::Vision),
            path.key("cache_features"),
            || {
                "the vision encoder trains in this stage, so its features change; expected false"
                    .into()
            },
        )?;
        demand(
            !stage.cache_features || !stage.augment.as_ref().is_some_and(endless),
            path.key("augment"),
            || {
                "features are cached in this stage, but every look at an image is a new variation; give their \
                 number, `views = 4` for example, or remove `cache_features`"
                    .into()
            },
        )?;
        for (index, part) in stage.export.iter().enumerate() {
            demand(
                *part != Part::Projector,
                path.key("export").index(index),
                || {
                    "only `vision`, `language` and `lora` have a form of their own; the projector is saved with \
                 the whole model"
                    .into()
                },
            )?;
            demand(
                *part != Part::Lora || self.model.lora.is_some(),
                path.key("export").index(index),
                || "there are no adapters to export; give [model.lora]".into(),
            )?;
        }
        Ok(())
    }

    fn validate_loss_scale(&self, stage: &Stage, path: &KeyPath) -> Checked {
        let Some(LossScale {
            initial,
            growth_interval,
        }) = stage.loss_scale
        else {
            return Ok(());
        };
        let path = path.key("loss_scale");
        let precision = self.precision_of(stage);
        demand(precision == PrecisionChoice::Fp16, path.clone(), || {
            format!(
                "the stage computes in {}, whose range needs no scale; remove the key, or write `precision = \"fp16\"`",
                precision.name()
            )
        })?;
        demand(
            (1.0..=loss_scale::HIGHEST).contains(&initial),
            path.key("initial"),
            || format!("expected a number from 1 to {}", loss_scale::HIGHEST),
        )?;
        demand(
            growth_interval > 0,
            path.key("growth_interval"),
            at_least_one,
        )
    }

    fn validate_evaluations(&self) -> Checked {
        let plain = |c: char| c.is_alphanumeric() || "-_.".contains(c);
        for (name, evaluation) in &self.evaluation {
            let path = KeyPath::from("evaluation").key(name);
            demand(
                !name.is_empty() && name.chars().all(plain) && !name.starts_with('.'),
                path.clone(),
                || {
                    "expected a name of letters, digits, '-', '_' and '.', not beginning with '.': its \
                     predictions are written to predictions/NAME.jsonl"
                        .into()
                },
            )?;
            let systems = Baseline::SYSTEMS.iter();
            let other = |system: &&str| {
                let other = name.strip_suffix(*system).and_then(|n| n.strip_suffix('.'));
                other.is_some_and(|other| self.evaluation.contains_key(other))
            };
            let taken = systems.copied().find(|system| other(system));
            demand(taken.is_none(), path.clone(), || {
                format!(
                    "predictions/{name}.jsonl is where another evaluation's '{}' goes; give this one another name",
                    taken.unwrap_or_default()
                )
            })?;
            let measure = &evaluation.measure;
            demand(!measure.metrics.is_empty(), path.key("metrics"), || {
                "expected at least one metric".into()
            })?;
            if let Some(fault) = measure.fault() {
                return Err(KeyError::at(path.key("metrics"), fault));
            }
            if let Some((key, fault)) = measure.search.fault() {
                return Err(KeyError::at(path.key(key), fault));
            }
            demand(measure.limit != Some(0), path.key("limit"), at_least_one)?;
            let looks_up = |b: &Baseline| matches!(b, Baseline::PixelNn | Baseline::Majority);
            demand(
                !measure.baselines.iter().any(looks_up) || !measure.baseline_data.is_empty(),
                path.key("baseline_data"),
                || {
                    "the baselines pixel_nn and majority look up training answers; name the \
                     [data.NAME] they may look into"
                        .into()
                },
            )?;
            for (index, data) in measure.baseline_data.iter().enumerate() {
                self.known_data(data, path.key("baseline_data").index(index))?;
            }
        }
        Ok(())
    }

    fn known_data(&self, name: &str, path: KeyPath) -> Checked {
        if self.data.contains_key(name) {
            return Ok(());
        }
        let known: Vec<&String> = self.data.keys().collect();
        Err(KeyError::unknown(path, "data name", name, &known))
    }
}

fn validate_numbers(stage: &Stage, path: &KeyPath) -> Checked {
    for rate in stage.lr.values() {
        demand(rate.is_finite() && rate > 0.0, path.key("lr"), || {
            "expected learning rates above 0; freeze a part by leaving it out of `train`".into()
        })?;
    }
    for part in &stage.train {
        demand(stage.lr.of(*part).is_some(), path.key("lr"), || {
            format!("`{part}` trains but has no learning rate; add `{part} = …`")
        })?;
    }
    if let super::Rates::Parts(rates) = &stage.lr {
        for part in rates.keys() {
            demand(
                stage.trains(*part),
                path.key("lr").key(part.to_string()),
                || {
                    format!(
                        "`{part}` does not train in this stage; add it to `train` or remove its rate"
                    )
                },
            )?;
        }
    }
    let fractions = [("warmup", stage.warmup), ("min_lr", stage.min_lr)];
    for (key, value) in fractions {
        demand((0.0..=1.0).contains(&value), path.key(key), || {
            "expected a fraction from 0 to 1".into()
        })?;
    }
    for (key, value) in [("weight_decay", stage.weight_decay), ("clip", stage.clip)] {
        demand(value.is_finite() && value >= 0.0, path.key(key), || {
            "expected 0 or a number above it".into()
        })?;
    }
    demand(
        stage.betas.iter().all(|beta| (0.0..1.0).contains(beta)),
        path.key("betas"),
        || "expected two numbers from 0 to below 1".into(),
    )
}

fn at_least_one() -> String {
    "expected at least 1".into()
}

fn demand(holds: bool, path: KeyPath, message: impl FnOnce() -> String) -> Checked {
    if holds {
        Ok(())
    } else {
        Err(KeyError::at(path, message()))
    }
}
