//! All sources of kernels, and the defines with which each is compiled.
//!
//! Only what is listed here can be launched, so that a test which compiles the list compiles everything.

use crate::Precision;

/// The formats of numbers.
const FORMATS: [Precision; 3] = [Precision::F32, Precision::Bf16, Precision::F16];

/// Widths of heads, one of each kind that the kernels know: they take any up to 256.
const HEAD_WIDTHS: [u32; 5] = [33, 64, 80, 128, 256];

const PRELUDE: &str = include_str!("prelude.cuh");

macro_rules! sources {
    ($($name:ident: $file:literal, $formats:expr;)*) => {
        /// A file of kernels.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub(crate) enum Source {
            $($name,)*
        }

        impl Source {
            #[cfg(test)]
            const ALL: &[Self] = &[$(Self::$name,)*];

            fn file(self) -> &'static str {
                match self {
                    $(Self::$name => $file,)*
                }
            }

            fn text(self) -> &'static str {
                match self {
                    $(Self::$name => include_str!(concat!("../", $file)),)*
                }
            }

            /// The names that are defined as formats of numbers.
            fn formats(self) -> &'static [&'static str] {
                match self {
                    $(Self::$name => &$formats,)*
                }
            }
        }
    };
}

sources! {
    AdamW: "device/kernels/adamw.cu", ["T"];
    AddColumns: "ops/add_columns/kernel.cu", ["T", "DELTA"];
    AddRows: "ops/add_rows/kernel.cu", ["IN", "TABLE"];
    AttentionBackward: "ops/attention/backward.cu", ["T"];
    AttentionForward: "ops/attention/forward.cu", ["T"];
    AttentionPlain: "ops/attention/plain.cu", [];
    AttentionStep: "ops/attention/step.cu", ["T", "CACHE"];
    Average: "ops/average/kernel.cu", ["T"];
    Copy: "device/kernels/copy.cu", ["IN", "OUT"];
    Dropout: "ops/dropout/kernel.cu", ["T"];
    Embedding: "ops/embedding/kernel.cu", ["IN", "OUT"];
    Gated: "ops/gated/kernel.cu", ["T"];
    Gelu: "ops/gelu/kernel.cu", ["T"];
    HeadLoss: "ops/head_loss/kernel.cu", ["IN", "OUT"];
    HeadNorm: "ops/head_norm/kernel.cu", ["T"];
    Linear: "ops/linear/kernel.cu", ["IN"];
    Norm: "ops/norm/kernel.cu", ["IN", "OUT"];
    Patchify: "ops/patchify/kernel.cu", ["OUT"];
    PixelShuffle: "ops/pixel_shuffle/kernel.cu", ["T"];
    Place: "ops/place/kernel.cu", ["IN"];
    Product: "device/kernels/product.cu", ["T", "OUT"];
    ProductF32: "device/kernels/product_f32.cu", ["OUT"];
    Reduce: "device/kernels/reduce.cu", [];
    Residual: "ops/residual/kernel.cu", ["IN"];
    Rope: "ops/rope/kernel.cu", ["T"];
    Scale: "ops/scale/kernel.cu", ["T"];
}

impl Source {
    /// Whether it is never compiled with `name` defined as `format`.
    fn leaves_out(self, name: &str, format: Precision) -> bool {
        let wide = format == Precision::F32;
        match (self, name) {
            // Operands of tensor cores have 16 bits.
            (Self::Product | Self::AttentionForward | Self::AttentionBackward, "T") => wide,
            // Operands of f32 give f32.
            (Self::ProductF32, _) => !wide,
            _ => false,
        }
    }

    /// Every set of defines that it is compiled with: formats of numbers, of which two of 16 bits meet only where one is
    /// made of the other.
    fn sets(self) -> Vec<Module> {
        let mut modules = vec![(Module::new(self), Precision::F32)];
        for name in self.formats() {
            let with = |(module, narrow): &(Module, Precision)| {
                let (module, narrow) = (*module, *narrow);
                let fits = move |format: &Precision| {
                    [narrow, *format].contains(&Precision::F32)
                        || narrow == *format
                        || self == Self::Copy
                };
                let known = move |format: &Precision| !self.leaves_out(name, *format);
                FORMATS
                    .into_iter()
                    .filter(fits)
                    .filter(known)
                    .map(move |format| {
                        let narrow = if format == Precision::F32 {
                            narrow
                        } else {
                            format
                        };
                        (module.format(name, format), narrow)
                    })
            };
            modules = modules.iter().flat_map(with).collect();
        }
        let modules = modules.into_iter().map(|(module, _)| module);
        match self {
            Self::AttentionForward | Self::AttentionBackward | Self::AttentionPlain => modules
                .flat_map(|module| HEAD_WIDTHS.map(|width| module.number("HEAD_WIDTH", width)))
                .collect(),
            _ => modules.collect(),
        }
    }
}

/// What a define stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Value {
    Format(Precision),
    Number(u32),
}

/// The most defines of a module.
const MOST: usize = 3;

/// A source with its defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Module {
    source: Source,
    defines: [Option<(&'static str, Value)>; MOST],
}

impl Module {
    pub(crate) fn new(source: Source) -> Self {
        Self {
            source,
            defines: [None; MOST],
        }
    }

    /// The same with `name` defined as the format `precision`.
    pub(crate) fn format(self, name: &'static str, precision: Precision) -> Self {
        self.define(name, Value::Format(precision))
    }

    /// The same with `name` defined as a number.
    pub(crate) fn number(self, name: &'static str, number: u32) -> Self {
        self.define(name, Value::Number(number))
    }

    fn define(mut self, name: &'static str, value: Value) -> Self {
        let free = self.defines.iter_mut().find(|define| define.is_none());
        debug_assert!(free.is_some(), "more than {MOST} defines for {self:?}");
        if let Some(free) = self.defines.iter_mut().find(|define| define.is_none()) {
            *free = Some((name, value));
        }
        self
    }

    /// Every module that there is, with the numbers that are likely.
    #[cfg(test)]
    fn all() -> Vec<Self> {
        let sets = Source::ALL.iter().flat_map(|source| source.sets());
        sets.collect()
    }

    /// Whether it is listed, whatever numbers it has been given.
    pub(super) fn is_listed(self) -> bool {
        let kind = |module: Self| {
            module.defines.map(|define| {
                define.map(|(name, value)| match value {
                    Value::Number(_) => (name, Value::Number(0)),
                    format => (name, format),
                })
            })
        };
        let same = |listed: &Self| kind(*listed) == kind(self);
        self.source.sets().iter().any(same)
    }

    /// A name for files and messages: the source's and the values of the defines.
    pub(super) fn name(self) -> String {
        let file = self.source.file();
        let name = file.trim_end_matches("/kernel.cu").trim_end_matches(".cu");
        let name = name
            .trim_start_matches("ops/")
            .trim_start_matches("device/kernels/");
        let values = self.defines.iter().flatten();
        values.fold(name.replace('/', "-"), |name, (_, value)| {
            format!("{name}-{}", word(*value))
        })
    }

    /// What the compiler is given.
    pub(super) fn text(self) -> String {
        let defines = self.defines.iter().flatten();
        let defines: String = defines
            .map(|(name, value)| format!("#define {name} {}\n", word(*value)))
            .collect();
        let (file, text) = (self.source.file(), self.source.text());
        format!("{defines}#line 1 \"prelude.cuh\"\n{PRELUDE}\n#line 1 \"{file}\"\n{text}")
    }
}

/// The word for `value` in a source.
fn word(value: Value) -> String {
    match value {
        Value::Format(Precision::F32) => "f32".to_owned(),
        Value::Format(Precision::Bf16) => "bf16".to_owned(),
        Value::Format(Precision::F16) => "f16".to_owned(),
        Value::Number(number) => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use rayon::prelude::*;

    use super::super::nvrtc::Nvrtc;
    use super::*;

    #[test]
    fn names_tell_modules_apart() {
        let names: HashSet<String> = Module::all().into_iter().map(Module::name).collect();
        assert_eq!(names.len(), Module::all().len());
    }

    /// Of the oldest GPUs that are supported, and of those that most training runs on.
    #[test]
    fn every_module_compiles_for_gpus() {
        let compiler = match Nvrtc::get() {
            Ok(compiler) => compiler,
            Err(problem) => {
                // Where it was named, it has to be there.
                assert!(std::env::var_os("FOURFOLD_NVRTC").is_none(), "{problem}");
                println!("left out: {problem}");
                return;
            }
        };
        Module::all().into_par_iter().for_each(|module| {
            for architecture in ["sm_80", "sm_90"] {
                let compiled = compiler.compile(&module.name(), &module.text(), architecture);
                let (code, log) = compiled.expect("compiles");
                assert!(!code.is_empty());
                assert!(
                    log.is_empty(),
                    "{} for {architecture}: {log}",
                    module.name()
                );
            }
        });
    }
}
