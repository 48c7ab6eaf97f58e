//! What all devices have in common, on the emulated one.

use std::sync::Arc;

use super::emulated::{Emulated, Products};
use super::*;
use crate::testing::Random;
use crate::{AdamW, Gradients, ParameterId, Parameters, Precision, Tape, Tensor, Update, ops};

fn emulated() -> Device {
    DeviceChoice::Emulated.open().expect("a C++ compiler")
}

/// A device that no other test uses.
fn own() -> Arc<Gpu> {
    let driver = Emulated::new(Products::Host).expect("a C++ compiler");
    Gpu::new("own", Box::new(driver))
}

fn random(shape: &[usize], seed: u64) -> Tensor {
    let mut random = Random(seed);
    let values: Vec<f32> = (0..shape.iter().product())
        .map(|_| random.next() as f32)
        .collect();
    Tensor::from_f32(shape, &values).expect("as many")
}

#[test]
fn tensors_come_back_as_they_were() {
    let device = emulated();
    for precision in [Precision::F32, Precision::Bf16, Precision::F16] {
        for shape in [&[3, 5][..], &[1], &[0, 4], &[67, 131]] {
            let host = random(shape, 1).to_precision(precision);
            for there in [host.to_device(&device), host.send_ahead(&device)] {
                let there = there.expect("room");
                assert_eq!(there.shape(), shape);
                assert_eq!(there.device(), device);
                assert_eq!(there.precision(), precision);
                assert_eq!(there.to_f32_vec(), host.to_f32_vec());
                let back = there.to_host().expect("no failure");
                assert_eq!(back.device(), Device::Cpu);
                assert_eq!(back.to_f32_vec(), host.to_f32_vec());
            }
        }
    }
}

#[test]
fn formats_change_as_they_do_here() {
    let device = emulated();
    let precisions = [Precision::F32, Precision::Bf16, Precision::F16];
    for from in precisions {
        let host = random(&[7, 37], 2).to_precision(from);
        let there = host.to_device(&device).expect("room");
        for to in precisions {
            let found = there.to_precision(to);
            assert_eq!(found.precision(), to);
            assert_eq!(found.device(), device);
            assert_eq!(found.to_f32_vec(), host.to_precision(to).to_f32_vec());
        }
    }
}

#[test]
fn what_is_stacked_comes_apart_again() {
    let device = emulated();
    let there = |seed| random(&[2, 3], seed).to_device(&device).expect("room");
    let (a, b) = (there(1), there(2));
    let stacked = Tensor::stack(&[&a, &b, &a]).expect("one shape");
    assert_eq!(
        (stacked.shape(), stacked.device()),
        (&[3, 2, 3][..], device)
    );
    for (found, expected) in stacked.unstack().iter().zip([&a, &b, &a]) {
        assert_eq!(found.to_f32_vec(), expected.to_f32_vec());
    }
    let message = Tensor::stack(&[&a, &random(&[2, 3], 1)]).expect_err("two places");
    let message = message.to_string();
    assert!(
        message.contains("emulated") && message.contains("cpu"),
        "{message}"
    );
}

#[test]
fn numbers_of_a_device_are_not_lent_and_say_where_they_are() {
    let there = Tensor::zeros_on(&emulated(), &[2, 3]);
    assert_eq!(there.to_f32_vec(), [0.0; 6]);
    let message = there.f32().expect_err("elsewhere").to_string();
    assert!(
        message.contains("emulated") && message.contains("to_host"),
        "{message}"
    );
}

#[test]
fn operands_in_two_places_are_refused() {
    let parameters = Parameters::new(Precision::F32);
    let tape = Tape::inference(&parameters);
    let (here, there) = (random(&[2, 3], 1), Tensor::zeros_on(&emulated(), &[2, 3]));
    let message = ops::linear(&tape, &here, &there, None).expect_err("two places");
    let message = message.to_string();
    assert!(
        message.contains("linear") && message.contains("to_device"),
        "{message}"
    );
}

#[test]
fn bytes_are_counted() {
    let gpu = own();
    let device = Device::Gpu(Arc::clone(&gpu));
    let first = Tensor::zeros_on(&device, &[1000]);
    let second = Tensor::zeros_on(&device, &[500]);
    assert_eq!(gpu.live_bytes(), 6000);
    drop(first);
    assert_eq!((gpu.live_bytes(), gpu.peak_bytes()), (2000, 6000));
    gpu.reset_peak();
    assert_eq!(gpu.peak_bytes(), 2000);
    drop(second);
    assert_eq!(gpu.live_bytes(), 0);
}

#[test]
fn memory_that_is_not_there_is_refused() {
    let gpu = own();
    let message = Tensor::on_gpu(&gpu, &[1 << 58], Precision::F32).expect_err("an exabyte");
    assert!(message.to_string().contains("no memory"), "{message}");
    assert_eq!((gpu.live_bytes(), gpu.peak_bytes()), (0, 0));
    gpu.synchronize().expect("it goes on");
}

#[test]
fn writing_outside_is_seen_and_the_kernel_named() {
    let gpu = own();
    let buffer = |len| GpuBuffer::of(&gpu, &vec![1.0f32; len]).expect("room");
    let (from, to) = (buffer(6), buffer(5));
    let place = |buffer: &GpuBuffer| (buffer.address(), Precision::F32);
    let message = copies::convert(&gpu, place(&from), place(&to), 6).expect_err("one too many");
    assert!(message.to_string().contains("add_scaled"), "{message}");
    let later = Tensor::zeros_on(&Device::Gpu(gpu), &[3]);
    assert!(later.to_f32_vec().iter().all(|number| number.is_nan()));
}

#[test]
fn a_device_that_failed_stays_so_and_says_why() {
    let gpu = own();
    let tensor = Tensor::zeros_on(&Device::Gpu(Arc::clone(&gpu)), &[3]);
    gpu.fail(&gpu.error("it fell off the bus"));
    let message = gpu.synchronize().expect_err("failed").to_string();
    assert!(
        message.contains("own") && message.contains("fell off"),
        "{message}"
    );
    assert!(tensor.to_f32_vec()[0].is_nan());
    assert!(tensor.to_precision(Precision::Bf16).to_host().is_err());
}

/// Parameters of two shapes on `device`, and gradients that were added twice.
fn trained(device: &Device, precision: Precision) -> (Parameters, Vec<ParameterId>, Gradients) {
    let mut parameters = Parameters::new(precision);
    let mut add = |name, shape: &[usize], seed| parameters.add(name, random(shape, seed));
    let matrix = add("matrix", &[65, 130], 1).expect("new");
    let vector = add("vector", &[65], 2).expect("new");
    add("frozen", &[3], 3).expect("new");
    parameters.to_device(device).expect("room");
    parameters.set_trainable(|name| name != "frozen");
    let mut gradients = Gradients::new(&parameters);
    for seed in [5, 6] {
        let tape = Tape::recording(&parameters);
        let x = random(&[9, 130], seed).to_device(device).expect("room");
        let bias = tape.parameter(vector);
        let y = ops::linear(&tape, &x, &tape.parameter(matrix), Some(&bias)).expect("fits");
        let dy = random(&[9, 65], seed + 2).to_precision(precision);
        let dy = dy.to_device(device).expect("room");
        drop(bias);
        tape.backward_from(&y, dy, &mut gradients)
            .expect("recorded");
    }
    (parameters, vec![matrix, vector], gradients)
}

#[test]
fn gradients_have_the_same_norm() {
    let norm = |device: &Device| trained(device, Precision::F32).2.norm();
    let (here, there) = (norm(&Device::Cpu), norm(&emulated()));
    assert!((here - there).abs() < 1e-5 * here, "{here} and {there}");
}

#[test]
fn steps_are_the_same() {
    for precision in [Precision::F32, Precision::Bf16, Precision::F16] {
        let run = |device: &Device| {
            let (mut parameters, ids, _) = trained(device, precision);
            // The very same ones on both: a step makes much of the sign of a gradient that is nearly 0.
            let (_, _, gradients) = trained(&Device::Cpu, precision);
            let gradient = |id: &ParameterId| {
                let gradient = gradients.get(*id).expect("it trains");
                gradient.to_device(device).expect("room")
            };
            let gradients: Vec<Tensor> = ids.iter().map(gradient).collect();
            // A part that begins where no vector does.
            let place = |id: &ParameterId| 3..parameters.get(*id).master().len();
            let places: Vec<_> = ids.iter().map(place).collect();
            let zeros = |id: &ParameterId| Tensor::zeros_on(device, &[place(id).len()]);
            let mut moments: Vec<[Tensor; 2]> =
                ids.iter().map(|id| [zeros(id), zeros(id)]).collect();
            for number in 1..=3 {
                let mut updates: Vec<Update<'_>> = ids
                    .iter()
                    .zip(&gradients)
                    .zip(&places)
                    .zip(&mut moments)
                    .map(|(((id, gradient), place), [first, second])| Update {
                        id: *id,
                        place: place.clone(),
                        step: AdamW::new([0.9, 0.98], number, 0.01, 0.1),
                        gradient,
                        first,
                        second,
                    })
                    .collect();
                parameters
                    .step(&mut updates, 0.5)
                    .expect("nobody holds them");
            }
            let tape = Tape::recording(&parameters);
            let all = ids.iter().zip(&moments).flat_map(|(id, [first, second])| {
                let master = parameters.get(*id).master().clone();
                [master, tape.parameter(*id), first.clone(), second.clone()]
            });
            all.collect::<Vec<Tensor>>()
        };
        for (here, there) in run(&Device::Cpu).iter().zip(run(&emulated())) {
            let wanted: Vec<f64> = here.to_f32_vec().into_iter().map(f64::from).collect();
            let tolerance = match here.precision() {
                Precision::F32 => 1e-6,
                _ => 5e-3,
            };
            let found = there.to_f32_vec();
            crate::testing::assert_close("step", here.precision(), &found, &wanted, tolerance);
        }
    }
}

#[test]
fn a_step_is_refused_while_a_tape_holds_the_parameter() {
    for device in [Device::Cpu, emulated()] {
        let (mut parameters, ids, gradients) = trained(&device, Precision::Bf16);
        let held = parameters.get(ids[0]).master().clone();
        let mut moments = [(); 2].map(|()| Tensor::zeros_on(&device, held.shape()));
        let [first, second] = &mut moments;
        let mut update = [Update {
            id: ids[0],
            place: 0..held.len(),
            step: AdamW::new([0.9, 0.98], 1, 0.01, 0.1),
            gradient: gradients.get(ids[0]).expect("it trains"),
            first,
            second,
        }];
        let message = parameters
            .step(&mut update, 1.0)
            .expect_err("held")
            .to_string();
        assert!(message.contains("matrix"), "{message}");
        drop(held);
        parameters.step(&mut update, 1.0).expect("free");
    }
}

#[test]
fn parameters_of_a_device_are_written_from_here() {
    let (mut parameters, ids, _) = trained(&emulated(), Precision::Bf16);
    let before = parameters.get(ids[0]).master().to_f32_vec();
    let negate = |master: &mut [f32]| master.iter_mut().for_each(|w| *w = -*w);
    parameters.update(ids[0], negate).expect("room");
    let after = parameters.get(ids[0]).master().to_f32_vec();
    assert!(before.iter().zip(&after).all(|(a, b)| *a == -*b));
    assert_eq!(parameters.get(ids[0]).master().device(), emulated());
    let message = parameters
        .update_both(ids[0], |_, _| ())
        .expect_err("elsewhere");
    assert!(message.to_string().contains("emulated"), "{message}");
}

/// Two ranks, of which this is the second and the first has the numbers 10, 20, …; or has failed.
struct Second(Option<&'static str>);

impl HostCollective for Second {
    fn rank(&self) -> usize {
        1
    }

    fn ranks(&self) -> usize {
        2
    }

    fn part(&self, len: usize, rank: usize) -> std::ops::Range<usize> {
        let middle = len.div_ceil(2);
        [0..middle, middle..len][rank].clone()
    }

    fn run(&self, operation: Operation, values: &mut [f32]) -> std::result::Result<(), String> {
        self.check()?;
        let own = self.part(values.len(), 1);
        for (place, value) in values.iter_mut().enumerate() {
            let first = 10.0 * (place + 1) as f32;
            match operation {
                Operation::AllReduce => *value += first,
                Operation::ReduceScatter if own.contains(&place) => *value += first,
                // What a rank has there is not said.
                Operation::ReduceScatter => *value = f32::NAN,
                Operation::AllGather if own.contains(&place) => {}
                Operation::AllGather | Operation::Broadcast => *value = first,
            }
        }
        Ok(())
    }

    fn check(&self) -> std::result::Result<(), String> {
        self.0.map_or(Ok(()), |why| Err(why.to_owned()))
    }
}

#[test]
fn ranks_work_on_numbers_of_devices() {
    let gpu = own();
    let device = Device::Gpu(Arc::clone(&gpu));
    let together = gpu.staged(Arc::new(Second(None))).expect("a thread");
    let values = Tensor::from_f32(&[5], &[9.0, 1.0, 2.0, 3.0, 9.0]).expect("five");
    let values = values.to_device(&device).expect("room");
    for (operation, expected) in [
        (Operation::AllReduce, [11.0, 22.0, 33.0]),
        // The parts of others stay as they are.
        (Operation::ReduceScatter, [1.0, 2.0, 33.0]),
        (Operation::AllGather, [10.0, 20.0, 3.0]),
        (Operation::Broadcast, [10.0, 20.0, 30.0]),
    ] {
        let numbers = DeviceNumbers::new(&gpu, 3).expect("room");
        assert_eq!((numbers.len(), numbers.is_empty()), (3, false));
        numbers.copy_from(0, &values, 1..4).expect("they fit");
        let before = gpu.downloads();
        together.start(operation, &numbers).expect("asked for");
        together.wait().expect("no failure");
        assert_eq!(gpu.downloads(), before, "{operation:?}");
        assert_eq!(numbers.to_vec().expect("here"), expected, "{operation:?}");
        numbers.clear(1..3).expect("there");
        assert_eq!(numbers.to_vec().expect("here"), [expected[0], 0.0, 0.0]);
        assert!(numbers.clear(2..4).is_err());
        assert!(numbers.copy_from(1, &values, 0..3).is_err());
        let here = Tensor::zeros(&[3]);
        assert!(numbers.copy_from(0, &here, 0..3).is_err());
    }
}

#[test]
fn numbers_that_are_on_their_way_are_not_used() {
    let gpu = own();
    let gone = Second(Some("rank 0 failed: no power"));
    let together = gpu.staged(Arc::new(gone)).expect("a thread");
    let numbers = [(); 2].map(|()| DeviceNumbers::new(&gpu, 4).expect("room"));
    for numbers in &numbers {
        numbers.clear(0..4).expect("there");
        together.all_reduce(numbers).expect("asked for");
    }
    let message = together.wait().expect_err("gone").to_string();
    assert_eq!(message, "rank 0 failed: no power");
    assert!(together.wait().is_err());
    // Nobody gave back the second.
    let held = DeviceNumbers::new(&gpu, 4).expect("room");
    let _job = held.held();
    let message = held.clear(0..4).expect_err("held").to_string();
    assert!(message.contains("`wait`"), "{message}");
}

#[test]
fn an_emulated_device_has_no_nccl() {
    let gpu = own();
    let why = gpu.nccl_support().expect_err("none");
    assert!(why.contains("no NVIDIA GPU"), "{why}");
    assert!(gpu.nccl_id().is_err());
    assert!(gpu.nccl(Arc::new(Second(None)), &[0; 128]).is_err());
}

#[test]
fn parameters_and_gradients_are_put_from_numbers_of_their_device() {
    for precision in [Precision::F32, Precision::Bf16, Precision::F16] {
        let device = emulated();
        let (mut parameters, ids, mut gradients) = trained(&device, precision);
        let gpu = device.gpu().expect("one");
        for id in ids {
            let master = parameters.get(id).master();
            let (shape, len) = (master.shape().to_vec(), master.len());
            let numbers = DeviceNumbers::new(gpu, len + 2).expect("room");
            let new = random(&[len], 7);
            let there = new.to_device(&device).expect("room");
            numbers.clear(0..2).expect("there");
            numbers.copy_from(2, &there, 0..len).expect("they fit");
            let held = parameters.get(id).master().clone();
            let refused = parameters.put_from(id, &numbers, 2);
            assert!(refused.is_err_and(|error| error.to_string().contains("tape")));
            drop(held);
            parameters.put_from(id, &numbers, 2).expect("free");
            assert_eq!(parameters.get(id).master().shape(), shape);
            assert_eq!(parameters.get(id).master().to_f32_vec(), new.to_f32_vec());
            let working = parameters.tensor(id);
            let rounded = match shape.len() {
                1 => new.clone(),
                _ => new.to_precision(precision),
            };
            assert_eq!(working.to_f32_vec(), rounded.to_f32_vec());
            drop(working);
            gradients.put_from(id, &numbers, 2).expect("as many");
            let gradient = gradients.get(id).expect("put").to_f32_vec();
            assert_eq!(gradient, new.to_f32_vec());
            assert!(gradients.put_from(id, &numbers, 3).is_err());
            let wanted: f64 = new.to_f32_vec()[1..]
                .iter()
                .map(|value| f64::from(*value) * f64::from(*value))
                .sum();
            let found = gradients
                .squares(&[(id, 1..len), (id, 0..0)])
                .expect("there");
            assert!((found - wanted).abs() < 1e-9 * wanted, "{found} {wanted}");
        }
        let frozen = parameters.find("frozen").expect("there");
        let numbers = DeviceNumbers::new(gpu, 3).expect("room");
        assert!(gradients.put_from(frozen, &numbers, 0).is_err());
    }
}
