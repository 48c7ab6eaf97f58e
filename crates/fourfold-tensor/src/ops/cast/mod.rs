//! The same numbers in another format.

use crate::{Precision, Result, Tape, Tensor};

/// `x` in `precision`, rounded where that is the narrower format; the gradient comes back in the format of `x`.
///
/// # Errors
/// None of its own: any shape will do.
pub fn cast(tape: &Tape<'_>, x: &Tensor, precision: Precision) -> Result<Tensor> {
    if x.precision() == precision {
        return Ok(x.clone());
    }
    let y = x.detach().to_precision(precision);
    let (node, from) = (x.node, x.precision());
    Ok(tape.record(&[x], y, move |dy, flow| {
        flow.add(node, dy.to_precision(from))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{devices, weighted_sum};
    use crate::{Gradients, Parameters};

    #[test]
    fn numbers_are_rounded_and_gradients_come_back() {
        for device in devices() {
            let mut parameters = Parameters::new(Precision::F32);
            parameters.to_device(&device).expect("room");
            let numbers = [1.0, -2.5, 1.0 + f32::EPSILON, 0.1];
            let x = Tensor::from_f32(&[2, 2], &numbers).expect("four numbers");
            let id = parameters.add("x", x).expect("new");
            parameters.set_trainable(|_| true);
            let mut gradients = Gradients::new(&parameters);
            let tape = Tape::recording(&parameters);
            let narrow = cast(&tape, &tape.parameter(id), Precision::Bf16).expect("any shape");
            assert_eq!(narrow.precision(), Precision::Bf16);
            let rounded = numbers.map(|number| half::bf16::from_f32(number).to_f32());
            assert_eq!(narrow.to_f32_vec(), rounded);
            let wide = cast(&tape, &narrow, Precision::F32).expect("any shape");
            assert_eq!(wide.to_f32_vec(), rounded);
            let loss = weighted_sum(&tape, &wide, &[1.0, 2.0, 3.0, -4.0]);
            tape.backward(&loss, &mut gradients).expect("a loss");
            let gradient = gradients.get(id).expect("it trains").to_f32_vec();
            assert_eq!(gradient, [1.0, 2.0, 3.0, -4.0]);
        }
    }
}
