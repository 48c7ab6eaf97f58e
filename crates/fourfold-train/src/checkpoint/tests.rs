//! What is written is read, and what is damaged is refused.

use super::*;
use crate::files::testing::Scratch;

fn state(step: usize) -> State {
    State {
        version: VERSION,
        recipe: Fingerprint {
            hash: "h".into(),
            values: BTreeMap::from([("seed".into(), "1".into())]),
        },
        data: BTreeMap::from([("d.parquet".into(), "s".into())]),
        stage: 1,
        update: 2,
        step,
        sampler: None,
        optimizer_steps: 2,
        parameter_steps: BTreeMap::new(),
        loss_scale: None,
        frozen: BTreeMap::new(),
        tensors: BTreeMap::new(),
    }
}

/// Numbers of every kind that a file could lose.
const VALUES: [f32; 6] = [0.0, -0.0, 1.5e-39, f32::MAX, -1.0 / 3.0, 7.0];

fn write_step(folder: &Path, step: usize, keep: usize) -> PathBuf {
    let tensor = |name: &str, shape, values| TensorRef {
        name: name.into(),
        shape,
        values,
    };
    let tensors = [
        tensor("weight.a", &[2, 3], &VALUES),
        tensor("weight.empty", &[0], &[]),
    ];
    write(folder, state(step), &tensors, keep).unwrap()
}

#[test]
fn what_is_written_is_read_bit_for_bit() {
    let scratch = Scratch::new("checkpoint");
    let path = write_step(scratch.path(), 7, 2);
    let read = Checkpoint::newest(scratch.path()).unwrap().unwrap();
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    assert_eq!(bits(read.tensor("weight.a", 6).unwrap()), bits(&VALUES));
    assert!(read.tensor("weight.empty", 0).unwrap().is_empty());
    let expected = State {
        tensors: read.state.tensors.clone(),
        ..state(7)
    };
    assert_eq!(read.state, expected);
    let error = read.tensor("weight.a", 5).unwrap_err().to_string();
    assert!(error.contains("6 numbers") && error.contains("weight.a"));
    assert!(path.ends_with("step-00000007"));
}

#[test]
fn the_oldest_go_and_the_same_step_is_replaced() {
    let scratch = Scratch::new("checkpoint");
    for step in [1, 2, 2, 10] {
        write_step(scratch.path(), step, 2);
    }
    let steps = |list: Vec<(usize, PathBuf)>| list.iter().map(|(s, _)| *s).collect::<Vec<_>>();
    assert_eq!(steps(list(scratch.path()).unwrap()), [2, 10]);
    let all = fs::read_dir(scratch.path()).unwrap().count();
    assert_eq!(all, 2, "nothing half-written is left");
}

#[test]
fn a_kill_in_the_middle_of_writing_leaves_the_one_before() {
    let scratch = Scratch::new("checkpoint");
    write_step(scratch.path(), 1, 2);
    let partial = scratch.path().join(".step-00000002.partial");
    fs::create_dir(&partial).unwrap();
    fs::write(partial.join(TENSORS), "half").unwrap();
    let newest = Checkpoint::newest(scratch.path()).unwrap().unwrap();
    assert_eq!(newest.state.step, 1);
    write_step(scratch.path(), 2, 2);
    assert!(!partial.exists());
}

#[test]
fn a_file_cut_anywhere_or_with_any_bit_turned_is_refused() {
    let scratch = Scratch::new("checkpoint");
    let path = write_step(scratch.path(), 3, 1);
    let file = path.join(TENSORS);
    let whole = fs::read(&file).unwrap();
    for length in 0..whole.len() {
        fs::write(&file, &whole[..length]).unwrap();
        let error = format!("{:#}", Checkpoint::newest(scratch.path()).unwrap_err());
        assert!(error.contains("step-00000003 is damaged"), "{error}");
    }
    let data = whole.len() - size_of_val(&VALUES);
    for byte in data..whole.len() {
        let mut turned = whole.clone();
        turned[byte] ^= 1 << (byte % 8);
        fs::write(&file, turned).unwrap();
        let error = format!("{:#}", Checkpoint::newest(scratch.path()).unwrap_err());
        assert!(error.contains("weight.a"), "byte {byte}: {error}");
    }
    fs::write(&file, whole).unwrap();
    assert!(Checkpoint::newest(scratch.path()).is_ok());
    fs::remove_file(path.join(STATE)).unwrap();
    let error = format!("{:#}", Checkpoint::newest(scratch.path()).unwrap_err());
    assert!(error.contains(STATE), "{error}");
}

#[test]
fn another_recipe_or_other_data_is_refused_by_name() {
    let scratch = Scratch::new("checkpoint");
    write_step(scratch.path(), 3, 1);
    let read = Checkpoint::newest(scratch.path()).unwrap().unwrap();
    let State { recipe, data, .. } = state(3);
    read.demand_same_run(&recipe, &data).unwrap();
    let other = Fingerprint {
        hash: "i".into(),
        values: BTreeMap::from([("seed".into(), "2".into())]),
    };
    let error = read.demand_same_run(&other, &data).unwrap_err().to_string();
    assert!(error.contains("seed"), "{error}");
    let changed = BTreeMap::from([("d.parquet".into(), "t".into())]);
    let error = read.demand_same_run(&recipe, &changed).unwrap_err();
    assert!(error.to_string().contains("d.parquet"), "{error}");
}

#[test]
fn a_checkpoint_of_another_version_is_not_called_damaged() {
    let scratch = Scratch::new("checkpoint");
    let file = write_step(scratch.path(), 3, 1).join(STATE);
    let text = fs::read_to_string(&file).unwrap();
    let (this, next) = ("\"version\": 1,", "\"version\": 2,");
    assert!(text.contains(this), "{text}");
    fs::write(&file, text.replace(this, next)).unwrap();
    let error = format!("{:#}", Checkpoint::newest(scratch.path()).unwrap_err());
    for part in ["step-00000003", "another version of Fourfold", "layout 2"] {
        assert!(error.contains(part), "{part} is missing in: {error}");
    }
    assert!(!error.contains("damaged"), "{error}");
}
