//! The several ways in which `config.json` files say how positions turn, read as `transformers` 5 reads them.

use serde_json::{Map, Value};

use super::RopeConfig;
use super::rope_table::RopeTable;
use super::rotary::RotaryFamily;

pub(super) const FULL: &str = "full_attention";
pub(super) const SLIDING: &str = "sliding_attention";

/// Base of the frequencies where a file says none.
const THETA: f32 = 10_000.0;
/// The same of Gemma 3's layers that see everything.
const GEMMA_THETA: f32 = 1_000_000.0;

/// The keys of it, old and new.
pub(super) struct RopeFile {
    pub family: RotaryFamily,
    pub max_position_embeddings: usize,
    pub rope_theta: Option<f32>,
    pub rope_local_base_freq: Option<f32>,
    pub rope_scaling: Option<Value>,
    pub rope_parameters: Option<Value>,
    pub partial_rotary_factor: Option<f32>,
    pub original_max_position_embeddings: Option<f64>,
}

/// The angles of layers that see everything, and of those with a window.
pub(super) struct Ropes {
    pub full: RopeConfig,
    pub sliding: RopeConfig,
}

impl RopeFile {
    pub fn read(&self) -> Result<Ropes, String> {
        if let Some(part) = self.partial_rotary_factor.filter(|part| *part != 1.0) {
            return Err(super::rope_table::partial(
                "partial_rotary_factor",
                f64::from(part),
            ));
        }
        let scaling = table("rope_scaling", self.rope_scaling.as_ref())?;
        let parameters = table("rope_parameters", self.rope_parameters.as_ref())?;
        match self.family {
            RotaryFamily::Gemma3 => self.by_kind(scaling, parameters),
            _ => self.one_for_all(scaling, parameters),
        }
    }

    /// One rule for all layers; the older key, where it says something, replaces the newer whole.
    fn one_for_all(
        &self,
        scaling: Map<String, Value>,
        parameters: Map<String, Value>,
    ) -> Result<Ropes, String> {
        let (key, table) = match scaling.is_empty() {
            true => ("rope_parameters", parameters),
            false => ("rope_scaling", scaling),
        };
        if let Some((kind, _)) = table.iter().find(|(_, value)| value.is_object()) {
            let family = self.family.model_type();
            return Err(format!(
                "{key}.{kind}: a {family} has one rule for all its layers; expected the keys of that rule in {key} itself"
            ));
        }
        let mut table = RopeTable::read(key, table)?;
        // A length outside the table goes before the one in it.
        table.set_original(self.original_max_position_embeddings);
        let full = table.rope(
            self.rope_theta.unwrap_or(THETA),
            self.max_position_embeddings,
        )?;
        let sliding = full.clone();
        Ok(Ropes { full, sliding })
    }

    /// A rule for each kind of layer; the older key adds to that of layers that see everything.
    fn by_kind(
        &self,
        scaling: Map<String, Value>,
        mut parameters: Map<String, Value>,
    ) -> Result<Ropes, String> {
        if let Some(key) = parameters
            .keys()
            .find(|key| ![FULL, SLIDING].contains(&key.as_str()))
        {
            return Err(format!(
                "rope_parameters.{key}: a gemma3_text has a rule for each kind of layer; expected no more than \
                 {FULL} and {SLIDING} here, and the keys of each rule in its own table"
            ));
        }
        if scaling.contains_key("type") && !scaling.contains_key("rope_type") {
            // transformers would leave such a rule out, its older versions would not.
            return Err(
                "rope_scaling.type: of a gemma3_text it is called rope_type; rename it".into(),
            );
        }
        let mut of = |kind: &str| {
            let key = format!("rope_parameters.{kind}");
            let found = parameters.remove(kind);
            table(&key, found.as_ref()).map(|table| (key, table))
        };
        let (mut key, mut table) = of(FULL)?;
        if !scaling.is_empty() {
            key = "rope_scaling".into();
            table.extend(scaling);
        }
        let rope = |key: &str, table, theta| -> Result<RopeConfig, String> {
            let table = RopeTable::read(key, table)?;
            table.refuse_untruncated()?;
            table.rope(theta, self.max_position_embeddings)
        };
        let full = rope(&key, table, self.rope_theta.unwrap_or(GEMMA_THETA))?;
        let (key, table) = of(SLIDING)?;
        let sliding = rope(&key, table, self.rope_local_base_freq.unwrap_or(THETA))?;
        Ok(Ropes { full, sliding })
    }
}

/// The table under `key`, empty where there is none.
fn table(key: &str, value: Option<&Value>) -> Result<Map<String, Value>, String> {
    match value {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(table)) => Ok(table.clone()),
        Some(other) => Err(format!("{key}: is {other}; expected a table")),
    }
}
