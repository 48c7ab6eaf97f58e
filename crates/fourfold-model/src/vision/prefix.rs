//! Tokens before the patches: class, distillation, registers.

use fourfold_tensor::ops;
use fourfold_tensor::{ParameterId, Tape, Tensor};

use super::layout::Names;
use crate::layers::{Found, find};
use crate::{Result, VisionConfig};

/// The tokens that stand before an image's patches inside the encoder: first those with a position, then registers.
#[derive(Debug)]
pub(super) struct Prefix {
    class_tokens: ParameterId,
    class_count: usize,
    registers: Option<ParameterId>,
    register_count: usize,
    patches: usize,
    keep_class_token: bool,
}

impl Prefix {
    /// The tokens of an encoder that has such.
    pub fn find(config: &VisionConfig, found: &Found<'_>, names: &Names) -> Result<Option<Self>> {
        let class_count = config.family.class_tokens();
        if class_count == 0 {
            return Ok(None);
        }
        Ok(Some(Self {
            class_tokens: find(found, &names.class_tokens())?,
            class_count,
            registers: match config.registers {
                0 => None,
                _ => Some(find(found, &names.registers())?),
            },
            register_count: config.registers,
            patches: config.patches(),
            keep_class_token: config.keep_class_token,
        }))
    }

    /// Embedded `patches: [images · patches, width]` → f32 `[images · (tokens + patches), width]`, with the row of
    /// `positions` added to each but the registers.
    pub fn put_before(
        &self,
        tape: &Tape<'_>,
        patches: &Tensor,
        positions: &Tensor,
    ) -> Result<Tensor> {
        let table = tape.parameter(self.class_tokens);
        let x = before(tape, &table, patches, self.class_count, self.patches)?;
        let rows = self.class_count + self.patches;
        let ids: Vec<u32> = (0..x.rows()).map(|row| (row % rows) as u32).collect();
        let x = ops::add_rows(tape, &x, positions, &ids)?;
        let Some(registers) = self.registers else {
            return Ok(x);
        };
        // Registers stand between the class token and the patches; they are put before all, and the rows reordered.
        let table = tape.parameter(registers);
        let x = before(tape, &table, &x, self.register_count, rows)?;
        let (classes, registers) = (self.class_count, self.register_count);
        let all = rows + registers;
        let order = |row: usize| match row % all {
            class if class < classes => row + registers,
            place if place < classes + registers => row - classes,
            _ => row,
        };
        let order: Vec<u32> = (0..x.rows()).map(|row| order(row) as u32).collect();
        Ok(ops::take_rows(tape, &x, &order)?)
    }

    /// Rows inside the encoder → features: the patches, and the class token where it is kept.
    pub fn take_away(&self, tape: &Tape<'_>, x: &Tensor) -> Result<Tensor> {
        let tokens = self.class_count + self.register_count;
        let all = tokens + self.patches;
        let wanted = |row: &usize| {
            let place = row % all;
            place >= tokens || (self.keep_class_token && place == 0)
        };
        let rows: Vec<u32> = (0..x.rows()).filter(wanted).map(|row| row as u32).collect();
        Ok(ops::take_rows(tape, x, &rows)?)
    }
}

/// The `tokens` rows of `table` before every `rows` rows of `x`, f32.
fn before(
    tape: &Tape<'_>,
    table: &Tensor,
    x: &Tensor,
    tokens: usize,
    rows: usize,
) -> Result<Tensor> {
    let all = tokens + rows;
    let count = x.rows() / rows.max(1) * all;
    // Rows that `x` is put into begin as the first token; no gradient reaches it from there.
    let token = |row: usize| match row % all {
        place if place < tokens => place as u32,
        _ => 0,
    };
    let ids: Vec<u32> = (0..count).map(token).collect();
    let places: Vec<u32> = (0..count)
        .filter(|row| row % all >= tokens)
        .map(|row| row as u32)
        .collect();
    let base = ops::embedding(tape, table, &ids)?;
    Ok(ops::place(tape, &base, x, &places)?)
}
