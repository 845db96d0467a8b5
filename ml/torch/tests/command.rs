//! The command: a data set in, a weight file out, by either trainer.

use crossover_ml::{CostModel, Dataset, Feature, Features, Row, Side, weights};
use std::path::Path;
use std::process::Command;

fn row(at: u32) -> Row {
    let mut features = Features::missing();
    features.set(Feature::CpuTimeS, 1e-5 * f64::from(at % 4 + 1));
    let seconds = [Some(2e-5 * f64::from(at % 4 + 1)), None];
    Row::new(format!("k{}", at / 4), "f", 1 << (at % 4), features, seconds)
}

fn train(folder: &Path, plain: bool) -> Vec<u8> {
    let out = folder.join("model.safetensors");
    let mut command = Command::new(env!("CARGO_BIN_EXE_crossover-train"));
    command.arg(folder.join("rows.jsonl")).arg("--out").arg(&out);
    command.args(["--seed", "7", "--epochs", "2", "--members", "2"]);
    command.args(plain.then_some("--plain"));
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(out).unwrap()
}

#[test]
fn both_trainers_write_files_that_load() {
    let folder = std::env::temp_dir().join(format!("crossover-train-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let rows: Vec<Row> = (0..60).map(row).collect();
    Dataset::append(&folder.join("rows.jsonl"), &rows).unwrap();
    for (plain, name) in [(true, "plain"), (false, "torch")] {
        let ensemble = weights::from_bytes(&train(&folder, plain)).unwrap();
        assert_eq!(ensemble.members().len(), 2);
        assert!(ensemble.members().iter().all(|member| member.provenance.trained_by == name));
        assert!(ensemble.predict(&row(3).features).seconds(Side::Cpu) > 0.0);
    }
    std::fs::remove_dir_all(folder).unwrap();
}
