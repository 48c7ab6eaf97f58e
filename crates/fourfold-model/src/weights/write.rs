//! Writing a weight file.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt::Display;
use std::fs;
use std::path::Path;

use fourfold_tensor::Parameters;
use safetensors::{Dtype, View};

use super::read::transpose;
use super::{WEIGHTS, WeightFormat};
use crate::lora::{Merge, merged};
use crate::spec::Spec;
use crate::{LoraConfig, ModelError, Result};

/// A tensor that another program's class has and that no model here reads.
#[derive(Clone, Debug)]
pub(crate) struct Constant {
    /// Name in the file.
    pub name: String,
    /// Shape in the file.
    pub shape: Vec<usize>,
    /// All of its numbers.
    pub value: f32,
}

/// Writes the parameters of `specs`, with the adapters of `lora` added, and `constants` to `folder/model.safetensors`;
/// `name` turns the names of specs into those of the file.
///
/// The file appears whole or not at all.
pub(crate) fn write<'a>(
    folder: &Path,
    parameters: &Parameters,
    lora: Option<&LoraConfig>,
    specs: impl Iterator<Item = &'a Spec>,
    constants: &[Constant],
    name: impl Fn(&str) -> String,
    format: WeightFormat,
) -> Result<()> {
    let mut tensors: Vec<(String, Stored<'_>)> = constants
        .iter()
        .map(|constant| (constant.name.clone(), Stored::constant(constant, format)))
        .collect();
    for spec in specs {
        let id = crate::layers::find(parameters, &spec.name)?;
        let mut rest = parameters.get(id).master().f32()?;
        for stored in &spec.stored {
            let (values, next) = rest.split_at(stored.shape.iter().product());
            rest = next;
            tensors.push((
                name(&stored.name),
                Stored {
                    values: Cow::Borrowed(values),
                    shape: &stored.shape,
                    transposed: stored.transposed,
                    offset: stored.offset,
                    merge: Merge::find(lora, parameters, stored)?,
                    format,
                },
            ));
        }
    }
    let path = folder.join(WEIGHTS);
    // Hugging Face's loaders want to be told which framework's layout it is.
    let metadata = HashMap::from([("format".to_owned(), "pt".to_owned())]);
    fs::create_dir_all(folder).map_err(ModelError::io(folder))?;
    write_safetensors(&path, tensors, Some(metadata))
}

/// Writes a safetensors file, tensor by tensor. It appears whole or not at all, with the permissions that any new file
/// gets.
///
/// # Errors
/// Names the file that cannot be written.
pub fn write_safetensors<V: View>(
    path: &Path,
    tensors: impl IntoIterator<Item = (impl AsRef<str> + Ord + Display, V)>,
    metadata: Option<HashMap<String, String>>,
) -> Result<()> {
    let mut unfinished = path.as_os_str().to_owned();
    unfinished.push(".unfinished");
    let unfinished = Path::new(&unfinished);
    // `serialize_to_file` replaces this file by one that its owner alone may read.
    let permissions = fs::File::create(unfinished).and_then(|file| file.metadata());
    let permissions = permissions
        .map_err(ModelError::io(unfinished))?
        .permissions();
    let written = safetensors::serialize_to_file(tensors, metadata, unfinished)
        .map_err(|error| ModelError::weights(path, error.to_string()));
    let written = written.and_then(|()| {
        fs::set_permissions(unfinished, permissions)
            .and_then(|()| fs::rename(unfinished, path))
            .map_err(ModelError::io(path))
    });
    if written.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(unfinished);
    }
    written
}

/// A tensor of the file, whose bytes are made when it is written: the file may be as large as memory.
struct Stored<'a> {
    values: Cow<'a, [f32]>,
    shape: &'a [usize],
    transposed: bool,
    /// What the file holds less.
    offset: f32,
    /// What is added to it first.
    merge: Option<Merge<'a>>,
    format: WeightFormat,
}

impl<'a> Stored<'a> {
    fn constant(constant: &'a Constant, format: WeightFormat) -> Self {
        Self {
            values: Cow::Owned(vec![constant.value; constant.shape.iter().product()]),
            shape: &constant.shape,
            transposed: false,
            offset: 0.0,
            merge: None,
            format,
        }
    }
}

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        self.format.dtype()
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let values = match self.merge {
            Some(merge) => Cow::Owned(merged(&self.values, merge)),
            None => Cow::Borrowed(&*self.values),
        };
        let values = match (self.transposed, self.shape) {
            (true, [rows, columns]) => Cow::Owned(transpose(&values, *columns, *rows)),
            _ => values,
        };
        let stored = values.iter().map(|value| value - self.offset);
        Cow::Owned(self.format.bytes(stored))
    }

    fn data_len(&self) -> usize {
        self.values.len() * self.dtype().bitsize() / 8
    }
}
