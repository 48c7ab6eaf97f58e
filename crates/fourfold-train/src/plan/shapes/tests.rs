//! The estimates against counts made by hand.

use super::*;
use crate::testing::config;

/// The matrices that are multiplied are all matrices of the model but the tables that are looked up.
#[test]
fn the_counted_matrices_are_those_of_the_model() {
    for kind in [
        ProjectorKind::Mlp,
        ProjectorKind::Linear,
        ProjectorKind::Gemma3,
    ] {
        let mut config = config();
        config.projector.kind = kind;
        check(config);
    }
}

fn check(config: ModelConfig) {
    let shapes = Shapes::of(&config);
    let model = fourfold_model::Model::new(config, Precision::F32, 0).unwrap();
    let count = |part: Part| -> f64 {
        let list = model.parameters.iter();
        let matrices = list.filter(|(_, p)| p.is_matrix() && Part::of(p.name()) == Some(part));
        let multiplied = matrices
            .filter(|(_, p)| !p.name().contains("position") && !p.name().contains("embed_tokens"));
        multiplied.map(|(_, p)| p.master().len() as f64).sum()
    };
    let stack = |stack: &Stack| stack.stem + stack.layers * stack.matrices;
    assert_eq!(stack(&shapes.vision), count(Part::Vision));
    assert_eq!(shapes.projector, count(Part::Projector));
    assert_eq!(stack(&shapes.language), count(Part::Language));
}

#[test]
fn a_document_costs_two_four_or_six_operations_a_number() {
    let shapes = Shapes::of(&config());
    let average = Average {
        tokens: 10.0,
        targets: 4.0,
        images: 1.0,
    };
    let cost = |trains: &[Part]| shapes.operations(average, 1.0, |part| trains.contains(&part));
    // By hand: 16 patches through 2 blocks of 4·8² + 2·8·20 numbers and a stem of 8·48; attention over 16 keys.
    let vision = 16.0 * (2.0 * 384.0 + 2.0 * (2.0 * 576.0 + 4.0 * 16.0 * 8.0));
    let projector = 4.0 * 2.0 * (32.0 * 12.0);
    // 3 blocks of 12·(20 + 12 + 3·30) numbers; attention over 5 keys; 4 rows of the head.
    let language = 10.0 * 3.0 * (2.0 * 12.0 * 122.0 + 4.0 * 5.0 * 12.0) + 2.0 * 4.0 * 12.0 * 50.0;
    assert_eq!(cost(&[]), vision + projector + language);
    assert_eq!(
        cost(&[Part::Projector]),
        vision + 3.0 * projector + 2.0 * language
    );
    assert_eq!(cost(&[Part::Language]), vision + projector + 3.0 * language);
    assert_eq!(
        cost(&[Part::Vision]),
        3.0 * vision + 2.0 * projector + 2.0 * language
    );
    assert_eq!(cost(&Part::ALL), 3.0 * (vision + projector + language));
}
