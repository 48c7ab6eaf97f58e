//! What the tensors of a part are called in the many files that it may come in.
//!
//! A language model alone is `model.layers…`, its bare body `layers…`, and within a larger model
//! `language_model.model.layers…`; a vision encoder is `vision_model.embeddings…` or `embeddings…` or
//! `vit.embeddings…`. The names behind these beginnings are the same, so one of them tells the beginning.

use crate::Part;
use crate::spec::Spec;

/// Turns the names of specs into those of a file.
pub(super) struct Names {
    /// What stands before a name of the part's body in the specs.
    root: String,
    /// What stands there in the file.
    found: String,
    /// The same for the names outside the body: the head.
    outside: String,
}

/// What stands before every name of the body, in the specs.
fn root(part: Part, specs: &[Spec]) -> String {
    let first = specs
        .first()
        .map_or("", |spec| spec.stored[0].name.as_str());
    let known = ["vision_model.", "model.", "transformer."];
    let part = format!("{part}.");
    let body = first.strip_prefix(&part).unwrap_or(first);
    let inner = known.into_iter().find(|root| body.starts_with(root));
    format!("{part}{}", inner.unwrap_or(""))
}

impl Names {
    /// Names as they are.
    pub fn same() -> Self {
        Self {
            root: String::new(),
            found: String::new(),
            outside: String::new(),
        }
    }

    /// How the file with these tensors calls `specs`, all those of `part`; `None` if it holds no such part.
    pub fn find(part: Part, specs: &[Spec], names: &[&str]) -> Option<Self> {
        let root = root(part, specs);
        let anchor = specs
            .first()?
            .stored
            .first()?
            .name
            .strip_prefix(&root)?
            .to_owned();
        // The shortest beginning: a larger model's own encoder rather than one deeper within.
        let beginning = |wanted: &str| {
            let before = names.iter().filter_map(|name| name.strip_suffix(wanted));
            let whole = before.filter(|before| before.is_empty() || before.ends_with('.'));
            whole.min_by_key(|before| before.len()).map(str::to_owned)
        };
        let found = beginning(&anchor)?;
        let outside = beginning("lm_head.weight").unwrap_or_default();
        Some(Self {
            root,
            found,
            outside,
        })
    }

    /// The file's name for a spec's.
    pub fn in_file(&self, name: &str) -> String {
        match name.strip_prefix(&self.root) {
            Some(rest) => format!("{}{rest}", self.found),
            // The head stands beside the body: `language.lm_head.weight`.
            None => {
                let (_, rest) = name.split_once('.').unwrap_or(("", name));
                format!("{}{rest}", self.outside)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn specs(names: &[&str]) -> Vec<Spec> {
        names.iter().map(|name| Spec::bias(*name, 1)).collect()
    }

    #[test]
    fn names_are_found_behind_any_beginning() {
        let language = specs(&[
            "language.model.embed_tokens.weight",
            "language.lm_head.weight",
        ]);
        let vision = specs(&["vision.vision_model.embeddings.patch_embedding.weight"]);
        let vit = specs(&["vision.embeddings.cls_token"]);
        let gpt2 = specs(&["language.transformer.wte.weight"]);
        for (part, specs, files) in [
            (
                Part::Language,
                &language,
                &["model.embed_tokens.weight", "lm_head.weight"][..],
            ),
            (
                Part::Language,
                &language,
                &[
                    "language_model.model.embed_tokens.weight",
                    "language_model.lm_head.weight",
                ],
            ),
            (
                Part::Language,
                &language,
                &["model.language_model.embed_tokens.weight", "lm_head.weight"],
            ),
            (
                Part::Language,
                &language,
                &["embed_tokens.weight", "lm_head.weight"],
            ),
            (
                Part::Vision,
                &vision,
                &["vision_model.embeddings.patch_embedding.weight"],
            ),
            (
                Part::Vision,
                &vision,
                &["embeddings.patch_embedding.weight"],
            ),
            (
                Part::Vision,
                &vision,
                &["model.vision_tower.vision_model.embeddings.patch_embedding.weight"],
            ),
            (Part::Vision, &vit, &["vit.embeddings.cls_token"]),
            (Part::Language, &gpt2, &["wte.weight"]),
        ] {
            let names = Names::find(part, specs, files).expect("there is one");
            for (spec, file) in specs.iter().zip(files) {
                assert_eq!(names.in_file(&spec.stored[0].name), *file);
            }
        }
        assert!(Names::find(Part::Vision, &vision, &["wte.weight"]).is_none());
    }

    #[test]
    fn names_may_stay_as_they_are() {
        assert_eq!(
            Names::same().in_file("language.lm_head.weight"),
            "language.lm_head.weight"
        );
    }
}
