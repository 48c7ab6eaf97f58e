use super::*;
use crate::testing::{self, Case};
use crate::{Gradients, Parameters};

const EPSILON: f32 = 1e-5;

#[test]
fn layer_norm_agrees_with_its_reference() {
    // Two numbers become -1 and 1 whatever they were: their gradient is rounding and compares with nothing.
    for (rows, width) in [
        (1, 5),
        (3, 7),
        (5, 33),
        (70, 96),
        (300, 50),
        (1, 127),
        (131, 31),
        (0, 7),
    ] {
        let reference = reference::Norm {
            rows,
            width,
            layer: true,
            epsilon: f64::from(EPSILON),
        };
        let case = Case::new(&[&[rows, width], &[width], &[width]]);
        let operation =
            |tape: &Tape<'_>, x: &[Tensor]| layer_norm(tape, &x[0], &x[1], &x[2], EPSILON);
        testing::check_operation(&case, operation, &reference);
        testing::check_operation(&case.keep_f32(0), operation, &reference);
    }
}

#[test]
fn rms_norm_agrees_with_its_reference() {
    for (rows, width) in [
        (1, 2),
        (3, 7),
        (5, 33),
        (70, 96),
        (300, 50),
        (1, 127),
        (131, 31),
        (0, 7),
    ] {
        let reference = reference::Norm {
            rows,
            width,
            layer: false,
            epsilon: f64::from(EPSILON),
        };
        let case = Case::new(&[&[rows, width], &[width]]);
        let operation = |tape: &Tape<'_>, x: &[Tensor]| rms_norm(tape, &x[0], &x[1], EPSILON);
        testing::check_operation(&case, operation, &reference);
        testing::check_operation(&case.keep_f32(0), operation, &reference);
    }
}

/// A residual stream: the input is used by the norm and by its successor, and both gradients count.
#[test]
fn adds_to_the_gradient_that_is_there() {
    let mut parameters = Parameters::new(Precision::F32);
    let x = Tensor::from_f32(&[2, 3], &[0.5, -1.0, 2.0, 1.0, 0.0, -0.25]).expect("six numbers");
    let id = parameters.add("x", x).expect("a new name");
    parameters.set_trainable(|_| true);
    let weight = Tensor::from_f32(&[3], &[1.0, 2.0, 3.0]).expect("three numbers");
    let dy = [0.3f32, -0.2, 0.1, 1.0, 0.5, -0.5];
    let gradient = |residual: bool| {
        let mut gradients = Gradients::new(&parameters);
        let tape = Tape::recording(&parameters);
        // A step in between, so that the gradient accumulates on the way and not in the parameter.
        let x = tape.parameter(id);
        let node = x.node;
        let x = tape.record(&[&x], x.detach(), move |dx, flow| flow.add(node, dx));
        let y = rms_norm(&tape, &x, &weight, EPSILON).expect("fits");
        let loss = if residual {
            let (y_node, x_node) = (y.node, x.node);
            let scalar = Tensor::zeros(&[1]);
            tape.record(&[&y, &x], scalar, move |_, flow| {
                let gradient = Tensor::from_f32(&[2, 3], &dy)?;
                flow.add(x_node, gradient.clone())?;
                flow.add(y_node, gradient)
            })
        } else {
            testing::weighted_sum(&tape, &y, &dy)
        };
        tape.backward(&loss, &mut gradients).expect("a loss");
        gradients.get(id).expect("a gradient").to_f32_vec()
    };
    let (alone, both) = (gradient(false), gradient(true));
    for ((alone, both), dy) in alone.iter().zip(&both).zip(dy) {
        assert!((alone + dy - both).abs() < 1e-6, "{alone} + {dy} != {both}");
    }
}

#[test]
fn refuses_a_weight_of_another_width() {
    let parameters = Parameters::new(Precision::F32);
    let tape = Tape::inference(&parameters);
    let message = rms_norm(
        &tape,
        &Tensor::zeros(&[2, 3]),
        &Tensor::zeros(&[4]),
        EPSILON,
    )
    .expect_err("3 columns for a weight of 4")
    .to_string();
    assert!(message.contains("rms_norm") && message.contains("[2, 3]") && message.contains("[4]"));
}
