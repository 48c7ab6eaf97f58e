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
    /// Whether parameters may be made of tensors of other shapes, and then the grid that positions are stored for.
    fits: Option<ImageSize>,
}

impl WeightSource {
    /// The weights of a folder that holds a whole model with positions for `grid`.
    pub fn whole(folder: &Path, grid: ImageSize) -> Result<Self> {
        Ok(Self {
            files: Tensors::open(folder)?,
            names: Names::same(),
            fits: Some(grid),
        })
    }

    /// The weights of a folder that holds `part`, whatever else it holds; `specs` are those of the part, and `grid` is
    /// the one that its positions are for.
    pub fn part(folder: &Path, part: Part, specs: &[Spec], grid: ImageSize) -> Result<Self> {
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
        Ok(Self {
            files,
            names,
            fits: Some(grid),
        })
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
            (Fit::Grow, Some(_), Some(found)) => self.grown(spec, only, &found),
            (
                Fit::Interpolate {
                    before,
                    to,
                    antialias,
                },
                Some(from),
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

    /// A table whose last rows the file may lack: they become the mean of the others.
    fn grown(&self, spec: &Spec, stored: &Stored, found: &[usize]) -> Result<Vec<f32>> {
        let (&[rows, width], &[found_rows, found_width]) = (&spec.shape[..], found) else {
            return self.tensor(stored, &stored.shape);
        };
        if found_rows >= rows || found_rows == 0 || found_width != width {
            return self.tensor(stored, &stored.shape);
        }
        let mut values = self.tensor(stored, found)?;
        let mut mean = vec![0.0; width];
        for row in values.chunks_exact(width) {
            for (sum, value) in mean.iter_mut().zip(row) {
                *sum += f64::from(*value);
            }
        }
        let mean: Vec<f32> = mean
            .iter()
            .map(|sum| (sum / found_rows as f64) as f32)
            .collect();
        values.reserve_exact((rows - found_rows) * width);
        for _ in found_rows..rows {
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

/// `[rows, columns]` → `[columns, rows]`.
pub(super) fn transpose(values: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    let by_column = |column: usize| (0..rows).map(move |row| values[row * columns + column]);
    (0..columns).flat_map(by_column).collect()
}
