//! Code whose optimisations are chosen computes the same, says what was chosen, and does not stay so where there
//! are many calls.

use std::time::{Duration, Instant};

use crossover::{Device, GpuUse, Id, Optimise, Runtime, kernel};

#[kernel]
fn blur(id: Id, x: &[f32], y: &mut [f32]) {
    let i = id.x;
    if i > 0 && i + 1 < x.len() {
        y[i] = (x[i - 1] + x[i] * 2.0 + x[i + 1]) * 0.25;
    } else {
        y[i] = x[i];
    }
}

fn runtime(optimise: Optimise, budget_s: f64) -> Runtime {
    let builder = Runtime::builder().with(|settings| {
        (settings.gpu, settings.threads) = (GpuUse::Off, 1);
        (settings.optimise, settings.optimise_budget_s) = (optimise, budget_s);
    });
    builder.build().expect("the CPU side needs nothing")
}

fn expected(x: &[f32]) -> Vec<f32> {
    let mut y = vec![0.0; x.len()];
    for i in 0..x.len() {
        blur(Id::at(i), x, &mut y);
    }
    y
}

#[test]
fn all_optimisations_are_nothing_to_speak_of() {
    let rt = runtime(Optimise::All, 0.1);
    let x = rt.buffer_from(&[1.0; 100]).expect("memory");
    let mut y = rt.alloc(100).expect("memory");
    let explained = blur::on(&rt).args(&x, &mut y).explain().expect("priced");
    assert_eq!(explained.optimisations, None);
    assert!(!explained.to_string().contains("optimisations"));
}

#[test]
fn no_budget_leaves_what_back_ends_need_and_the_result_is_right() {
    let rt = runtime(Optimise::Chosen, 0.0);
    let values: Vec<f32> = (0..1000).map(|i| (i * i % 97) as f32).collect();
    let x = rt.buffer_from(&values).expect("memory");
    let mut y = rt.alloc(1000).expect("memory");
    let explained = blur::on(&rt).args(&x, &mut y).explain().expect("priced");
    let choice = explained.optimisations.clone().expect("chosen");
    assert!(!choice.set.enables("simd"), "{choice:?}");
    assert!(explained.to_string().contains("optimisations of the cpu's code: "));
    blur::on(&rt).args(&x, &mut y).device(Device::Cpu).run().expect("it runs");
    assert_eq!(y.to_vec().expect("readable"), expected(&values));
    let kept = blur::on(&rt).args(&x, &mut y).explain().expect("priced").optimisations;
    assert_eq!(kept.map(|kept| kept.set), Some(choice.set), "what runs is what was said");
}

#[test]
fn many_calls_get_all_optimisations() {
    let rt = runtime(Optimise::Chosen, 0.0);
    let values: Vec<f32> = (0..500).map(|i| i as f32 * 0.5).collect();
    let x = rt.buffer_from(&values).expect("memory");
    let mut y = rt.alloc(500).expect("memory");
    blur::on(&rt).args(&x, &mut y).run().expect("it runs");
    let explain = |y: &mut _| blur::on(&rt).args(&x, y).explain().expect("priced").optimisations;
    let calls = explain(&mut y).expect("chosen").calls_until_all().floor();
    let start = Instant::now();
    let mut made = 1.0;
    while explain(&mut y).is_some() {
        assert!(start.elapsed() < Duration::from_secs(60), "still after {made} calls");
        blur::on(&rt).args(&x, &mut y).run().expect("it runs");
        made += 1.0;
    }
    assert!(made >= calls, "{made} of {calls}");
    blur::on(&rt).args(&x, &mut y).run().expect("it runs");
    assert_eq!(y.to_vec().expect("readable"), expected(&values));
}
