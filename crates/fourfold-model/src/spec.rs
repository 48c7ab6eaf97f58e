//! What a parameter is before it has numbers: name, shape, first values, and its place in a weight file.
//!
//! One list of these serves counting, initialising, loading and saving, so none can disagree with another.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::{ImageSize, ModelError, Result};

/// A parameter of a model.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    /// Name in memory, prefixed by the part.
    pub name: String,
    /// Shape in memory: a matrix is `[out, in]`.
    pub shape: Vec<usize>,
    /// First values.
    pub init: Init,
    /// The tensors of a weight file that make it, stacked along the first dimension.
    pub stored: Vec<Stored>,
    /// What a weight file may hold less of it than the model wants.
    pub fit: Fit,
    /// Whether it is the weight of a linear layer, which may have an adapter.
    pub linear: bool,
}

/// How a parameter is made of a stored one of another shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fit {
    /// Not at all: shapes are to be equal.
    Exact,
    /// Rows that the file lacks are the mean of those that it has: tokens that were added to the vocabulary.
    Grow,
    /// Positions of another grid of patches are interpolated.
    Interpolate {
        /// Rows before those of the grid, which are kept.
        before: usize,
        /// The grid that is wanted.
        to: ImageSize,
        /// Whether a smaller grid is an average over the larger one.
        antialias: bool,
    },
}

/// A tensor in a weight file.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    /// Hugging Face's name, prefixed by the part.
    pub name: String,
    /// Shape in the file.
    pub shape: Vec<usize>,
    /// Whether the file holds `[in, out]` where memory holds `[out, in]` (GPT-2's `Conv1D`).
    pub transposed: bool,
    /// What numbers in memory are more than those in the file.
    pub offset: f32,
}

impl Stored {
    fn plain(name: impl Into<String>, shape: &[usize]) -> Self {
        Self {
            name: name.into(),
            shape: shape.to_vec(),
            transposed: false,
            offset: 0.0,
        }
    }
}

/// First values of a parameter.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Init {
    Zeros,
    Ones,
    /// Normal with this standard deviation.
    Normal(f32),
    /// Sines and cosines of row and column of a grid, `[before + height · width, numbers]`.
    Grid {
        /// Cells down.
        height: usize,
        /// Cells across.
        width: usize,
        /// Rows of zeros before those of the grid.
        before: usize,
    },
}

impl Spec {
    /// A parameter that a weight file holds under the same name and shape.
    pub fn plain(name: impl Into<String>, shape: &[usize], init: Init) -> Self {
        let name = name.into();
        Self {
            stored: vec![Stored::plain(name.clone(), shape)],
            name,
            shape: shape.to_vec(),
            init,
            fit: Fit::Exact,
            linear: false,
        }
    }

    /// A matrix `[out, in]` whose first values keep the scale of what passes it; `depth` is how many such layers add
    /// to the same residual stream (1 for the others).
    pub fn matrix(name: impl Into<String>, shape: [usize; 2], depth: usize) -> Self {
        let init = Init::Normal(matrix_deviation(shape[1], depth));
        Self {
            linear: true,
            ..Self::plain(name, &shape, init)
        }
    }

    /// A vector of zeros.
    pub fn bias(name: impl Into<String>, len: usize) -> Self {
        Self::plain(name, &[len], Init::Zeros)
    }

    /// A norm's weight: ones.
    pub fn norm(name: impl Into<String>, len: usize) -> Self {
        Self::plain(name, &[len], Init::Ones)
    }

    /// The same parameter, stored as `pieces` of `(name, rows)` stacked along the first dimension.
    pub fn stored_as(mut self, pieces: &[(String, usize)]) -> Self {
        let rest = &self.shape[1..];
        let piece =
            |(name, rows): &(String, usize)| Stored::plain(name, &[&[*rows], rest].concat());
        self.stored = pieces.iter().map(piece).collect();
        self
    }

    /// The same parameter, stored under `name` in `shape`.
    pub fn stored_in(mut self, name: impl Into<String>, shape: &[usize]) -> Self {
        self.stored = vec![Stored::plain(name, shape)];
        self
    }

    /// The same parameter, stored as tensors of `(name, shape)`, one after the other.
    pub fn stored_each(mut self, pieces: Vec<(String, Vec<usize>)>) -> Self {
        let plain = |(name, shape): &(String, Vec<usize>)| Stored::plain(name, shape);
        self.stored = pieces.iter().map(plain).collect();
        self
    }

    /// The same parameter, whose file holds `offset` less.
    pub fn stored_less(mut self, offset: f32) -> Self {
        for stored in &mut self.stored {
            stored.offset = offset;
        }
        self
    }

    /// The same parameter, whose file may have fewer rows.
    pub fn growing(self) -> Self {
        self.fitting(Fit::Grow)
    }

    /// The same parameter, made so of a stored one of another shape.
    pub fn fitting(mut self, fit: Fit) -> Self {
        self.fit = fit;
        self
    }

    /// The same matrix, stored transposed.
    pub fn transposed(mut self) -> Self {
        for stored in &mut self.stored {
            stored.shape.reverse();
            stored.transposed = true;
        }
        self
    }

    /// Leaves `random` where [`Spec::initial`] would: first values do not depend on which other parameters had some.
    pub fn skip(&self, random: &mut ChaCha8Rng) {
        if let Init::Normal(_) = self.init {
            let len: usize = self.shape.iter().product();
            random.set_word_pos(random.get_word_pos() + NORMAL_WORDS * len as u128);
        }
    }

    /// First values from `random`.
    ///
    /// # Errors
    /// When there is no memory for them.
    pub fn initial(&self, random: &mut ChaCha8Rng) -> Result<Vec<f32>> {
        let len = self.shape.iter().product();
        let mut values = Vec::new();
        values.try_reserve_exact(len).map_err(|_| {
            let gib = 4.0 * len as f64 / f64::from(1 << 30);
            let message = format!(
                "needs {gib:.1} GiB, which this machine does not give; make the model smaller"
            );
            ModelError::config(&self.name, message)
        })?;
        match self.init {
            Init::Zeros => values.resize(len, 0.0),
            Init::Ones => values.resize(len, 1.0),
            Init::Normal(deviation) => values.extend((0..len).map(|_| normal(random) * deviation)),
            Init::Grid {
                height,
                width,
                before,
            } => {
                values.resize(before * self.shape[1], 0.0);
                values.extend(grid(height, width, self.shape[1]));
            }
        }
        Ok(values)
    }
}

fn matrix_deviation(inner: usize, depth: usize) -> f32 {
    0.5 / (inner as f32).sqrt() / (depth as f32).sqrt()
}

/// The waves of [`grid`] run from 1 radian a cell to nearly `1 / LONGEST`.
const LONGEST: f32 = 100.0;

/// Fixed two-dimensional positions (as MoCo v3, Chen et al. 2021), half as strong, which is the scale of embedded
/// patches: a small encoder that starts from them knows from the first update which patches are neighbours.
fn grid(height: usize, width: usize, numbers: usize) -> Vec<f32> {
    let waves = numbers.div_ceil(4);
    let frequency = |wave: usize| LONGEST.powf(-(wave as f32) / waves as f32);
    let mut values = Vec::with_capacity(height * width * numbers);
    for cell in 0..height * width {
        let (x, y) = ((cell % width) as f32, (cell / width) as f32);
        values.extend((0..numbers).map(|place| {
            let frequency = frequency(place / 4);
            0.5 * match place % 4 {
                0 => (x * frequency).sin(),
                1 => (x * frequency).cos(),
                2 => (y * frequency).sin(),
                _ => (y * frequency).cos(),
            }
        }));
    }
    values
}

/// Words of 32 bits that [`normal`] draws: two numbers of 64 bits.
const NORMAL_WORDS: u128 = 4;

/// A standard normal number (Box and Muller, 1958).
fn normal(random: &mut ChaCha8Rng) -> f32 {
    let radius = (-2.0 * (1.0 - random.random::<f64>()).ln()).sqrt();
    (radius * (std::f64::consts::TAU * random.random::<f64>()).cos()) as f32
}

/// Whether no two parameters share a name.
pub(crate) fn names_are_distinct(specs: &[Spec]) -> bool {
    let mut names: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    names.sort_unstable();
    names.windows(2).all(|pair| pair[0] != pair[1])
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;

    use super::*;

    #[test]
    fn skipping_leaves_the_generator_where_drawing_would() {
        for spec in [
            Spec::matrix("m", [3, 7], 1),
            Spec::bias("b", 5),
            Spec::norm("n", 4),
        ] {
            let (mut drawn, mut skipped) =
                (ChaCha8Rng::seed_from_u64(3), ChaCha8Rng::seed_from_u64(3));
            spec.initial(&mut drawn).expect("memory for a few");
            spec.skip(&mut skipped);
            assert_eq!(
                drawn.random::<u64>(),
                skipped.random::<u64>(),
                "{}",
                spec.name
            );
        }
    }
}
