//! Text templates over a row's columns, checked against the columns before the first row.

use std::path::Path;

use minijinja::value::ValueKind;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use serde_json::{Map, Value};

use crate::DataError;

/// Steps of one rendering at most; loops within loops would not end else.
const MOST_STEPS: u64 = 10_000_000;

/// Checks that `template` parses.
///
/// # Errors
/// Shows it, and says what is wrong with it.
pub(crate) fn check(template: &str) -> Result<(), String> {
    match environment().template_from_str(template) {
        Ok(_) => Ok(()),
        Err(error) => Err(format!(
            "the template `{template}` fails: {}",
            reason(&error)
        )),
    }
}

fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(MOST_STEPS));
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_formatter(|out, state, value| match value.kind() {
        // A null column is nothing, not the word "none".
        ValueKind::None => Ok(()),
        // What a list or an object looks like in some notation is nothing that a person would say.
        kind @ (ValueKind::Seq | ValueKind::Iterable | ValueKind::Map) => {
            let what = match kind {
                ValueKind::Map => "an object; name a member of it, as `{{ x.name }}`",
                _ => "a list; name an element, as `{{ x[0] }}`, or join them, as `{{ x|join(', ') }}`",
            };
            Err(minijinja::Error::new(
                minijinja::ErrorKind::InvalidOperation,
                format!("expected a text or a number, got {what}"),
            ))
        }
        _ => minijinja::escape_formatter(out, state, value),
    });
    environment
}

/// The templates of one source, compiled once.
pub(crate) struct Templates {
    environment: Environment<'static>,
    texts: Vec<String>,
}

impl Templates {
    /// Compiles `templates`, pairs of what the template is for (`prompt`, `answer`) and its text.
    ///
    /// `variables` are the names a template may use; another name is an error here, so that a
    /// misspelt column is told before training rather than rendered as nothing.
    pub fn compile(
        path: &Path,
        templates: &[(&str, &str)],
        variables: &[String],
    ) -> Result<Self, DataError> {
        let mut environment = environment();
        for (index, (role, text)) in templates.iter().enumerate() {
            let fail = |error: minijinja::Error| DataError::Template {
                origin: format!("{} ({role})", path.display()),
                template: text.to_string(),
                message: reason(&error),
            };
            environment
                .add_template_owned(index.to_string(), text.to_string())
                .map_err(fail)?;
            let template = environment.get_template(&index.to_string()).map_err(fail)?;
            let mut used: Vec<String> = template.undeclared_variables(false).into_iter().collect();
            used.sort();
            let globals: Vec<&str> = environment.globals().map(|(name, _)| name).collect();
            let missing = used
                .into_iter()
                .find(|name| !variables.contains(name) && !globals.contains(&name.as_str()));
            if let Some(column) = missing {
                return Err(DataError::NoColumn {
                    path: path.into(),
                    used_in: format!("the {role} template `{text}`"),
                    column,
                    columns: variables.to_vec(),
                });
            }
        }
        let texts = templates.iter().map(|(_, text)| text.to_string()).collect();
        Ok(Self { environment, texts })
    }

    /// Renders template `index` over a row's columns; white space around the text is dropped.
    pub fn render(
        &self,
        index: usize,
        columns: &Map<String, Value>,
        origin: &str,
    ) -> Result<String, DataError> {
        self.environment
            .get_template(&index.to_string())
            .and_then(|template| template.render(minijinja::value::Serde(columns)))
            .map(|text| text.trim().to_string())
            .map_err(|error| DataError::Template {
                origin: origin.into(),
                template: self.texts[index].clone(),
                message: reason(&error),
            })
    }
}

fn reason(error: &minijinja::Error) -> String {
    match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn compile(text: &str) -> Result<Templates, DataError> {
        let variables = ["name", "tags"].map(String::from);
        Templates::compile(Path::new("a.parquet"), &[("prompt", text)], &variables)
    }

    fn render(text: &str) -> String {
        let Value::Object(row) = json!({"name": "a <b> & c", "tags": ["x", "y"], "none": null})
        else {
            unreachable!()
        };
        compile(text)
            .unwrap()
            .render(0, &row, "a.parquet:row 0")
            .unwrap()
    }

    #[test]
    fn renders_text_as_it_is() {
        assert_eq!(render(" {{ name }}\n"), "a <b> & c");
        assert_eq!(
            render("{{ tags|join(', ') }}; {{ tags|length }}"),
            "x, y; 2"
        );
        assert_eq!(render("{% for i in range(2) %}{{ i }}{% endfor %}"), "01");
    }

    #[test]
    fn null_is_nothing() {
        let variables = ["none".to_string()];
        let path = Path::new("a.parquet");
        let templates =
            Templates::compile(path, &[("answer", "[{{ none }}]")], &variables).unwrap();
        let Value::Object(row) = json!({"none": null}) else {
            unreachable!()
        };
        assert_eq!(templates.render(0, &row, "").unwrap(), "[]");
    }

    /// A caption that is a list in some row would be learnt with its brackets.
    #[test]
    fn a_list_and_an_object_are_no_texts() {
        let Value::Object(row) = json!({"name": {"text": "a"}, "tags": ["x"]}) else {
            unreachable!()
        };
        for (text, expected) in [
            ("{{ tags }}", "got a list"),
            ("{{ name }}", "got an object"),
        ] {
            let message = compile(text)
                .unwrap()
                .render(0, &row, "a:row 0")
                .unwrap_err();
            assert!(message.to_string().contains(expected), "{message}");
        }
        assert_eq!(render("{{ tags[0] }}"), "x");
    }

    #[test]
    fn a_missing_column_is_named_with_those_that_exist() {
        let message = compile("What is {{ nme }}?").err().unwrap().to_string();
        for part in ["a.parquet", "`What is {{ nme }}?`", "`nme`", "name, tags"] {
            assert!(message.contains(part), "{part} not in {message}");
        }
    }

    #[test]
    fn a_syntax_error_shows_the_template() {
        let message = compile("{{ name").err().unwrap().to_string();
        assert!(
            message.contains("`{{ name`") && message.contains("prompt"),
            "{message}"
        );
    }
}
