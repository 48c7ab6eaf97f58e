//! From stored tensors to parameters.

use std::collections::HashSet;
use std::path::Path;

use super::interpolate::interpolate;
use super::names::Names;
use super::tensors::Tensors;
use super::write::Constant;
use crate::spec::{Fit, Spec, Stored};
use crate::{ImageSize, ModelError, Part, Result};

/// Weights to make parameters of.
pub(crate) struct WeightSource {
    files: Tensors,
    names: Names,
    /// Whether parameters may be made of tensors of other shapes, and then what these are stored for.
    fits: Option<StoredFor>,
}

/// What decides the shapes of stored tensors that a model may want in others.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoredFor {
    /// The grid of patches that has positions.
    pub grid: ImageSize,
    /// How many tokens have rows.
    pub vocabulary: usize,
}

impl WeightSource {
    /// The weights of a folder that holds a whole model.
    pub fn whole(folder: &Path, stored: StoredFor) -> Result<Self> {
        Ok(Self {
            files: Tensors::open(folder)?,
            names: Names::same(),
            fits: Some(stored),
        })
    }

    /// The weights of a folder that holds `part`, whatever else it holds; `specs` are those of the part.
    ///
    /// # Errors
    /// When there is no such part, or a head of its own where `specs` take the embedding table for one.
    pub fn part(folder: &Path, part: Part, specs: &[Spec], stored: StoredFor) -> Result<Self> {
        let files = Tensors::open(folder)?;
        let known = files.names();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let names = Names::find(part, specs, &known).ok_or_else(|| {
            let wanted = specs.first().map_or("", |spec| spec.stored[0].name.as_str());
            let message = format!(
                "holds no {part} model of the kind that its configuration describes: no tensor's name ends in that of \
                 '{wanted}'"
            );
            ModelError::weights(files.file_of(""), message)
        })?;
        let source = Self {
            files,
            names,
            fits: Some(stored),
        };
        match part {
            Part::Language => source.demand_tied(specs).map(|()| source),
            _ => Ok(source),
        }
    }

    /// The same weights, of which every tensor has to be of the shape that is wanted.
    pub fn exact(mut self) -> Self {
        self.fits = None;
        self
    }

    /// The names of all tensors.
    pub fn tensors(&self) -> Vec<String> {
        self.files.names()
    }

    /// What the files call the stored tensor `name` of a spec.
    pub fn in_file(&self, name: &str) -> String {
        self.names.in_file(name)
    }

    /// Refuses weights that no parameter of a whole model takes, unless they are known to go unread: its config.json is
    /// of another model.
    pub fn demand_no_other(&self, specs: &[Spec], unread: &[Constant]) -> Result<()> {
        let stored = specs.iter().flat_map(|spec| &spec.stored);
        let mut known: HashSet<&str> = stored.map(|stored| stored.name.as_str()).collect();
        known.extend(unread.iter().map(|constant| constant.name.as_str()));
        let names = self.files.names();
        match names.iter().find(|name| !known.contains(name.as_str())) {
            None => Ok(()),
            Some(name) => Err(ModelError::weights(
                self.files.file_of(name),
                format!(
                    "holds '{name}', which the model of its config.json does not have; restore that file"
                ),
            )),
        }
    }

    /// Refuses tensors within the blocks of a part that `specs`, all those of its stored configuration, do not have: the
    /// weights are of another configuration, and what they would do is missing.
    pub fn demand_no_other_in_blocks(&self, specs: &[Spec]) -> Result<()> {
        let stored = specs.iter().flat_map(|spec| &spec.stored);
        let known: HashSet<String> = stored.map(|stored| self.in_file(&stored.name)).collect();
        let blocks: HashSet<&str> = known
            .iter()
            .filter_map(|name| before_number(name))
            .collect();
        // Tables that older files keep beside the parameters that they serve.
        let passed_over = |name: &str| {
            let tables = [".rotary_emb.inv_freq", ".attn.bias", ".attn.masked_bias"];
            tables.iter().any(|table| name.ends_with(table))
        };
        let names = self.files.names();
        let other = names.iter().find(|name| {
            before_number(name).is_some_and(|before| blocks.contains(before))
                && !known.contains(*name)
                && !passed_over(name)
        });
        match other {
            None => Ok(()),
            Some(name) => Err(ModelError::weights(
                self.files.file_of(name),
                format!(
                    "holds '{name}', which the model of its configuration does not have, so that what it does would be \
                     missing: weights and configuration do not belong together; get both from the same place (to use \
                     fewer blocks of an encoder, write `layer` in [model.vision])"
                ),
            )),
        }
    }

    /// Refuses a head that is stored beside the embedding table and is another matrix, where `specs` have none.
    fn demand_tied(&self, specs: &[Spec]) -> Result<()> {
        const HEAD: &str = "language.lm_head.weight";
        let mut stored = specs.iter().flat_map(|spec| &spec.stored);
        let (head, table) = (self.in_file(HEAD), specs.first());
        let table = table.map(|spec| self.in_file(&spec.stored[0].name));
        if stored.any(|stored| stored.name == HEAD)
            || table.is_none_or(|table| self.files.are_same(&head, &table) != Some(false))
        {
            return Ok(());
        }
        let message = format!(
            "'{head}' is not the embedding table, which the configuration takes for the head: set tie_word_embeddings to \
             false there if the head was trained, or take it out of the file"
        );
        Err(ModelError::weights(self.files.file_of(&head), message))
    }

    /// The numbers of `spec`, put together from its stored tensors.
    pub fn read(&self, spec: &Spec) -> Result<Vec<f32>> {
        let [only] = &spec.stored[..] else {
            let len = spec.shape.iter().product();
            let mut values = Vec::with_capacity(len);
            for stored in &spec.stored {
                values.extend(self.tensor(stored, &stored.shape)?);
            }
            return Ok(values);
        };
        let name = self.names.in_file(&only.name);
        let found = self.files.shape(&name);
        match (spec.fit, self.fits, found) {
            (Fit::Grow, Some(stored), Some(_)) if stored.vocabulary < spec.shape[0] => {
                self.grown(spec, only, stored.vocabulary)
            }
            (
                Fit::Interpolate {
                    before,
                    to,
                    antialias,
                },
                Some(StoredFor { grid: from, .. }),
                Some(_),
            ) if from != to => {
                let width = spec.shape[1];
                let rows = before + from.area();
                let mut shape = only.shape.clone();
                if let [.., stored_rows, _] = &mut shape[..] {
                    *stored_rows = rows;
                }
                let values = self.tensor(only, &shape)?;
                let (kept, grid) = values.split_at(before * width);
                let grid = interpolate(grid, from, to, width, antialias);
                Ok([kept, &grid].concat())
            }
            _ => self.tensor(only, &only.shape),
        }
    }

    /// A table of which the file has the first `known` rows; the others become the mean of these.
    fn grown(&self, spec: &Spec, stored: &Stored, known: usize) -> Result<Vec<f32>> {
        let (rows, width) = (spec.shape[0], spec.shape[1]);
        let mut values = self.tensor(stored, &[known, width])?;
        let mut mean = vec![0.0; width];
        for row in values.chunks_exact(width) {
            for (sum, value) in mean.iter_mut().zip(row) {
                *sum += f64::from(*value);
            }
        }
        let mean: Vec<f32> = mean.iter().map(|sum| (sum / known as f64) as f32).collect();
        values.reserve_exact((rows - known) * width);
        for _ in known..rows {
            values.extend_from_slice(&mean);
        }
        Ok(values)
    }

    /// The numbers of a stored tensor, which has to be of `shape`, as they are in memory.
    fn tensor(&self, stored: &Stored, shape: &[usize]) -> Result<Vec<f32>> {
        let name = self.names.in_file(&stored.name);
        let fault = |message: String| ModelError::weights(self.files.file_of(&name), message);
        let missing = || {
            fault(format!(
                "has no tensor '{name}', which its configuration says the model has"
            ))
        };
        let found = self.files.shape(&name).ok_or_else(missing)?;
        if found != shape {
            return Err(fault(format!(
                "'{name}' is {found:?}; its configuration makes it {shape:?}"
            )));
        }
        let mut numbers = self.files.read(&name)?.ok_or_else(missing)?;
        if let Some(bad) = numbers.iter().position(|number| !number.is_finite()) {
            return Err(fault(format!(
                "'{name}' holds {} at {bad}: the file is damaged",
                numbers[bad]
            )));
        }
        if stored.offset != 0.0 {
            numbers
                .iter_mut()
                .for_each(|number| *number += stored.offset);
        }
        Ok(match (stored.transposed, shape) {
            (true, [rows, columns]) => transpose(&numbers, *rows, *columns),
            _ => numbers,
        })
    }
}

/// What stands before the first number in a tensor's name: `model.layers.` of `model.layers.3.mlp.up_proj.weight`.
fn before_number(name: &str) -> Option<&str> {
    let is_number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let mut place = 0;
    for part in name.split('.') {
        if is_number(part) {
            return Some(&name[..place]);
        }
        place += part.len() + 1;
    }
    None
}

/// `[rows, columns]` → `[columns, rows]`.
pub(super) fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let by_column = |column: usize| (0..rows).map(move |row| values[row * columns + column]);
    (0..columns).flat_map(by_column).collect()
}
