//! What is written: models, and beside each what it computes here.

use std::fs;
use std::path::{Path, PathBuf};

use fourfold_model::{ExportFormat, Model, Part, WeightFormat};
use fourfold_tensor::Tensor;
use safetensors::tensor::{Dtype, TensorView};

use crate::TOKENS;
use crate::question::Question;
use crate::search::SearchCase;

/// Tensors that `compare.py` reads.
#[derive(Default)]
pub struct Expected(Vec<(&'static str, Dtype, Vec<usize>, Vec<u8>)>);

impl Expected {
    pub fn floats(mut self, name: &'static str, tensor: &Tensor) -> Self {
        let numbers = tensor.to_f32_vec().into_iter();
        let bytes = numbers.flat_map(f32::to_le_bytes).collect();
        self.0
            .push((name, Dtype::F32, tensor.shape().to_vec(), bytes));
        self
    }

    pub fn words(mut self, name: &'static str, words: &[u32]) -> Self {
        let bytes = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.0.push((name, Dtype::I32, vec![words.len()], bytes));
        self
    }

    pub fn write(&self, folder: &Path) {
        let views = self.0.iter().map(|(name, dtype, shape, bytes)| {
            let view = TensorView::new(*dtype, shape.clone(), bytes);
            (*name, view.expect("as many bytes as numbers"))
        });
        let path = folder.join("expected.safetensors");
        safetensors::serialize_to_file(views, None, &path).expect("written");
    }
}

/// Where models go; the name tells `compare.py` what to do with one.
pub struct Target(pub PathBuf);

impl Target {
    pub fn folder(&self, name: &str) -> PathBuf {
        let folder = self.0.join(name);
        fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    /// A whole model and what it says of two images.
    pub fn whole(&self, format: ExportFormat, name: &str, model: &Model) {
        let folder = self.folder(&format!("{format}/{name}"));
        model
            .export(&folder, format, TOKENS, WeightFormat::F32)
            .unwrap_or_else(|error| panic!("{name}: {error}"));
        // Gemma takes images side by side for one.
        let question = Question::new(model, format != ExportFormat::Gemma3);
        let expected = Expected::default()
            .words("tokens", &question.tokens)
            .floats("images", &question.images)
            .floats("logits", &question.logits(model));
        let searches = SearchCase::all(model, &question);
        let end = searches.iter().map(|search| search.end).min();
        let expected = expected.words("end", &end.map_or(vec![], |end| vec![end]));
        searches
            .iter()
            .fold(expected, |expected, search| {
                expected.words(search.name, &question.answer(model, search))
            })
            .write(&folder);
    }

    /// A language model alone and what it says of some text.
    pub fn language(&self, kind: &str, name: &str, base: &Model, model: &Model) -> PathBuf {
        let folder = self.folder(&format!("{kind}/{name}"));
        base.save_part(Part::Language, &folder, WeightFormat::F32)
            .expect("written");
        let question = Question::text();
        Expected::default()
            .words("tokens", &question.tokens)
            .floats("logits", &question.logits(model))
            .write(&folder);
        folder
    }

    /// An encoder alone and the features of two images.
    pub fn vision(&self, kind: &str, name: &str, base: &Model, model: &Model) -> PathBuf {
        let folder = self.folder(&format!("{kind}/{name}"));
        base.save_part(Part::Vision, &folder, WeightFormat::F32)
            .expect("written");
        let images = Question::new(model, true).images;
        Expected::default()
            .floats("images", &images)
            .floats("features", &model.encode(&images).expect("fits"))
            .write(&folder);
        folder
    }
}
