//! What a chat template finds around it: Hugging Face's environment, through minijinja.

use chrono::NaiveDate;
use chrono::format::{Item, StrftimeItems};
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value};
use minijinja::{AutoEscape, Environment, Error, ErrorKind};
use minijinja_contrib::pycompat::unknown_method_callback;

use super::python;

/// The day that templates are told when they ask for today's, unless another is given: the one that Llama 3 templates
/// name where there is no clock. With the clock's, tomorrow's training would see other tokens than today's.
pub(super) const DATE: NaiveDate = NaiveDate::from_ymd_opt(2024, 7, 26).expect("a day");

/// How many instructions a template may take for one conversation: some hundred times what long ones do, and about a
/// second. Templates come with models from elsewhere, and one that never ends would hold up everything.
const MOST_STEPS: u64 = 10_000_000;

/// As `transformers` sets it up: blocks take their line's white space with them; `break` and `continue`;
/// `raise_exception`, `strftime_now`, `tojson`; methods of Python's strings, dicts and lists; values printed as Python
/// prints them.
pub(super) fn environment() -> Result<Environment<'static>, Error> {
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build()?;
    let mut environment = Environment::new();
    environment.set_fuel(Some(MOST_STEPS));
    environment.set_syntax(syntax);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_unknown_method_callback(unknown_method_callback);
    environment.set_formatter(|out, _, value| Ok(out.write_str(&python::text(value))?));
    environment.add_function(
        "raise_exception",
        |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        },
    );
    environment.add_function("strftime_now", |format: String| {
        let items: Vec<Item<'_>> = StrftimeItems::new(&format).collect();
        if items.iter().any(|item| matches!(item, Item::Error)) {
            let message = format!("strftime_now cannot read the format '{format}'");
            return Err(Error::new(ErrorKind::InvalidOperation, message));
        }
        let moment = DATE.and_hms_opt(0, 0, 0).unwrap_or_default();
        Ok(moment.format_with_items(items.into_iter()).to_string())
    });
    environment.add_filter("tojson", tojson);
    Ok(environment)
}

fn tojson(value: Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    // What transformers' filter takes beside it; the values are those that it has anyway.
    for known in ["ensure_ascii", "separators", "sort_keys"] {
        let _: Option<Value> = options.get(known)?;
    }
    options.assert_all_used()?;
    let value = serde_json::to_value(&value).map_err(|error| {
        Error::new(ErrorKind::InvalidOperation, "not for JSON").with_source(error)
    })?;
    let mut out = String::new();
    python::json(&value, indent, 0, &mut out);
    Ok(out)
}

/// `text` with `{% generation %}` and its end, which mark answers for training in Python, as blocks that change
/// nothing.
pub(super) fn without_generation(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("{%") {
        let Some(length) = rest[start..].find("%}") else {
            break;
        };
        let (before, tag) = (&rest[..start], &rest[start..start + length + 2]);
        let inner = &tag[2..tag.len() - 2];
        let word = inner.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
        let instead = match word {
            "generation" => "if true",
            "endgeneration" => "endif",
            _ => word,
        };
        out.push_str(before);
        out.push_str(&match word == instead {
            true => tag.to_owned(),
            false => tag.replacen(word, instead, 1),
        });
        rest = &rest[start + length + 2..];
    }
    out.push_str(rest);
    out
}
