use std::sync::Arc;
use std::time::Instant;
use crossover_kernels::exec::*;
use crossover_kernels::ir::builder::Builder;
use crossover_kernels::ir::*;
use crossover_memory::Slot;
use crossover_wasm::WasmExecutor;
fn k(f: Function, grid: Vec<Extent>, collective: Option<Collective>) -> Arc<Kernel> { let k = Kernel { entry: f, helpers: vec![], grid, collective, files: vec![] }; crossover_kernels::verify::verify(&k).unwrap(); Arc::new(k) }
fn buf(n: usize) -> Arg { let s = Arc::new(Slot::zeroed(n*4).unwrap()); for (i, v) in s.write::<f32>().iter_mut().enumerate() { *v = (i % 13) as f32 * 0.25 } Arg::Buffer { slot: s, len: n as u32 } }
fn time(name: &str, reps: usize, mut f: impl FnMut()) -> f64 { f(); let mut best = f64::MAX; let mut all = vec![]; for _ in 0..reps { let t = Instant::now(); f(); let e = t.elapsed().as_secs_f64(); all.push(e); best = best.min(e) } all.sort_by(f64::total_cmp); println!("{name}: median {:.1} us, best {:.1} us", all[reps/2]*1e6, best*1e6); all[reps/2] }
fn call(v: &dyn Version, kern: &Kernel, args: &[Arg], grid: Grid, threads: usize) { let mut claim = claim_args(kern, args); v.run(&mut Call { args, grid, threads, deadline: None, claim: &mut claim }).unwrap(); }
#[inline(never)] fn saxpy(a: f32, x: &[f32], y: &mut [f32]) { for (y, x) in y.iter_mut().zip(x) { *y += a * *x } }
#[inline(never)] fn matmul(a: &[f32], b: &[f32], c: &mut [f32], n: usize) { for y in 0..n { for x in 0..n { let mut s = 0.0; for k in 0..n { s += a[y*n+k]*b[k*n+x] } c[y*n+x] = s; } } }
fn main() {
    let ex = WasmExecutor::new().unwrap();
    let mut b = Builder::new("saxpy");
    let y = b.buffer("y", Type::F32, Access::ReadWrite); let x = b.buffer("x", Type::F32, Access::Read); let a = b.scalar("a", Type::F32);
    let i = b.id(Axis::X); let (a, xi, yi) = (b.argument(a), b.checked_load(x, i), b.checked_load(y, i));
    let s = b.fma(a, xi, yi); b.checked_store(y, i, s);
    let kern = k(b.finish(), vec![Extent::Len(Param(0))], None);
    let t = Instant::now(); let v = ex.compile(&kern).unwrap(); println!("compile {:?}", t.elapsed());
    if std::env::args().nth(1).as_deref() == Some("dump") { std::fs::write("/tmp/saxpy.wasm", crossover_wasm::emit(&kern).unwrap().bytes).unwrap(); }
    for n in [1000usize, 16_384, 4 << 20] {
        let args = [buf(n), buf(n), Arg::Scalar(0.5f32.into())];
        let r = if n > 100000 { 40 } else { 1000 };
        let w1 = time(&format!("saxpy {n} wasm 1"), r, || call(&*v, &kern, &args, [n as u32,1,1], 1));
        let w2 = time(&format!("saxpy {n} wasm 2"), r, || call(&*v, &kern, &args, [n as u32,1,1], 2));
        let (Arg::Buffer{slot: sy,..}, Arg::Buffer{slot: sx,..}) = (&args[0], &args[1]) else { panic!() };
        let n1 = time(&format!("saxpy {n} native"), r, || { let x = sx.read::<f32>(); let mut y = sy.write::<f32>(); saxpy(std::hint::black_box(0.5), &x, &mut y) });
        println!("  ratio native/wasm1 {:.2}, native/wasm2 {:.2}", n1/w1, n1/w2);
    }
    let mut b = Builder::new("matmul");
    let out = b.buffer("out", Type::F32, Access::ReadWrite); let (l, r) = (b.buffer("a", Type::F32, Access::Read), b.buffer("b", Type::F32, Access::Read)); let n = b.scalar("n", Type::U32);
    let (x, y, n) = (b.id(Axis::X), b.id(Axis::Y), b.argument(n)); let (zero, row) = (b.constant(0u32), b.binary(BinaryOp::Mul, y, n)); let total = b.local(Type::F32, None);
    b.for_range(zero, n, 1, |b, k| { let at = b.binary(BinaryOp::Add, row, k); let lv = b.checked_load(l, at); let col = b.binary(BinaryOp::Mul, k, n); let at = b.binary(BinaryOp::Add, col, x); let rv = b.checked_load(r, at); let old = b.get(total); let s = b.fma(lv, rv, old); b.set(total, s); });
    let at = b.binary(BinaryOp::Add, row, x); let s = b.get(total); b.checked_store(out, at, s);
    let kern = k(b.finish(), vec![Extent::Scalar(Param(3)); 2], None);
    let t = Instant::now(); let v = ex.compile(&kern).unwrap(); println!("compile {:?}", t.elapsed());
    if std::env::args().nth(1).as_deref() == Some("dump") { std::fs::write("/tmp/matmul.wasm", crossover_wasm::emit(&kern).unwrap().bytes).unwrap(); }
    let n = 512usize; let args = [buf(n*n), buf(n*n), buf(n*n), Arg::Scalar((n as u32).into())];
    let w1 = time("matmul 512 wasm 1", 7, || call(&*v, &kern, &args, [512,512,1], 1));
    let w2 = time("matmul 512 wasm 2", 7, || call(&*v, &kern, &args, [512,512,1], 2));
    let (Arg::Buffer{slot: so,..}, Arg::Buffer{slot: sa,..}, Arg::Buffer{slot: sb,..}) = (&args[0], &args[1], &args[2]) else { panic!() };
    let n1 = time("matmul 512 native", 5, || { let a = sa.read::<f32>(); let b = sb.read::<f32>(); let mut c = so.write::<f32>(); matmul(&a, &b, &mut c, n) });
    println!("  ratio native/wasm1 {:.2}, native/wasm2 {:.2}, wasm1 {:.2} GFLOP/s", n1/w1, n1/w2, 2.0*512f64.powi(3)/w1*1e-9);
    let mut b = Builder::new("dot");
    let p = b.buffer("x", Type::F32, Access::Read); let q = b.buffer("y", Type::F32, Access::Read); b.buffer("r", Type::F32, Access::ReadWrite);
    let res = b.local(Type::F32, None); let i = b.id(Axis::X); let (pv, qv) = (b.checked_load(p, i), b.checked_load(q, i)); let m = b.binary(BinaryOp::Mul, pv, qv); b.set(res, m); let mut f = b.finish(); f.result = Some(res);
    let kern = k(f, vec![Extent::Len(Param(0))], Some(Collective { kind: CollectiveKind::Reduce, op: CollectiveOp::Add }));
    let v = ex.compile(&kern).unwrap();
    for n in [16_384usize, 4 << 20] { let args = [buf(n), buf(n), buf(1)];
        let w1 = time(&format!("dot {n} wasm 1"), 40, || call(&*v, &kern, &args, [n as u32,1,1], 1));
        time(&format!("dot {n} wasm 2"), 40, || call(&*v, &kern, &args, [n as u32,1,1], 2));
        let (Arg::Buffer{slot: sy,..}, Arg::Buffer{slot: sx,..}) = (&args[0], &args[1]) else { panic!() };
        let n1 = time(&format!("dot {n} native scalar"), 40, || { let x = sx.read::<f32>(); let y = sy.read::<f32>(); std::hint::black_box(x.iter().zip(y.iter()).map(|(a,b)| a*b).sum::<f32>()); });
        println!("  ratio native/wasm1 {:.2}", n1/w1); }
}
