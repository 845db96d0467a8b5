//! WGSL by hand through wgpu alone: what the GPU side is compared with.
//!
//! The buffers stay on the device; a run is timed from the recording of its commands to the end of the
//! wait for them, as a user of wgpu would time it. Where there are several ways to write a kernel, all
//! are tried on the size at hand, and the fastest is the baseline. Shaders are made as wgpu makes them
//! unless asked otherwise, with its bounds checks.

use std::time::Instant;

use crossover::kernels::library::Input;

use crate::case::Case;

/// A kernel in WGSL, ready for arguments of one size.
struct Recipe {
    wgsl: &'static str,
    /// What binding 0 holds.
    numbers: [u32; 4],
    /// Bytes of further buffers, bound behind the arguments.
    scratch: &'static [u64],
    /// The ways to run it, each a list of dispatches.
    ways: Vec<Vec<(&'static str, [u32; 3])>>,
}

/// Bytes for sums of blocks: enough for 2²⁶ elements.
const SUMS: &[u64] = &[4 << 16];

/// Seconds from which on a way is run only once to find the fastest.
const LONG: f64 = 1.0;

/// Workgroups of the first pass of a reduction.
const REDUCE_GROUPS: u32 = 256;

/// Workgroups for so many invocations in a row, in rows where one axis is not enough.
fn over(items: usize, group: u32) -> [u32; 3] {
    let groups = (items as u32).div_ceil(group).max(1);
    let rows = groups.div_ceil(65_535);
    [groups.div_ceil(rows), rows, 1]
}

/// Workgroups for a plane of w × h.
fn plane(w: u32, h: u32, group: [u32; 2]) -> [u32; 3] {
    [w.div_ceil(group[0]).max(1), h.div_ceil(group[1]).max(1), 1]
}

/// How a library kernel runs on these arguments; `None` where there is no WGSL of it here.
fn recipe(kernel: &str, args: &[Input]) -> Option<Recipe> {
    use Input::{F32, Scalar, U32};
    let int = |c: &crossover::kernels::ir::Const| c.to_f64() as u32;
    let float = |c: &crossover::kernels::ir::Const| (c.to_f64() as f32).to_bits();
    let one = |wgsl, numbers, groups| Recipe {
        wgsl,
        numbers,
        scratch: &[],
        ways: vec![vec![("main", groups)]],
    };
    let reduce = |wgsl, n: usize| {
        let groups = (n as u32).div_ceil(256).clamp(1, REDUCE_GROUPS);
        let dispatches = vec![("main", [groups, 1, 1]), ("finish", [1, 1, 1])];
        Recipe { wgsl, numbers: [n as u32, groups, 0, 0], scratch: SUMS, ways: vec![dispatches] }
    };
    Some(match (kernel, args) {
        ("saxpy", [Scalar(a), F32(_), F32(y)]) => {
            let mut ways = vec![vec![("main", over(y.len(), 256))]];
            if y.len() >= 4 && y.len() % 4 == 0 {
                ways.push(vec![("vectors", over(y.len() / 4, 256))]);
            }
            let wgsl = include_str!("../../wgsl/saxpy.wgsl");
            Recipe { wgsl, numbers: [float(a), 0, 0, 0], scratch: &[], ways }
        }
        ("dot", [F32(x), F32(_), F32(_)]) => reduce(include_str!("../../wgsl/dot.wgsl"), x.len()),
        ("sum", [F32(x), F32(_)]) => reduce(include_str!("../../wgsl/sum.wgsl"), x.len()),
        ("prefix_sum", [U32(x), U32(_)]) => {
            let blocks = (x.len() as u32).div_ceil(1024).max(1);
            if blocks > 65_535 {
                return None;
            }
            let groups = [blocks, 1, 1];
            let dispatches = vec![("main", groups), ("scan_sums", [1, 1, 1]), ("add_sums", groups)];
            Recipe {
                wgsl: include_str!("../../wgsl/prefix_sum.wgsl"),
                numbers: [x.len() as u32, blocks, 0, 0],
                scratch: SUMS,
                ways: vec![dispatches],
            }
        }
        ("matmul", [Scalar(n), F32(_), F32(_), F32(_)]) => {
            let n = int(n);
            Recipe {
                wgsl: include_str!("../../wgsl/matmul.wgsl"),
                numbers: [n, 0, 0, 0],
                scratch: &[],
                ways: vec![
                    vec![("plain", plane(n, n, [64, 4]))],
                    vec![("tiled", plane(n, n, [16, 16]))],
                    vec![("blocked", plane(n, n, [64, 64]))],
                ],
            }
        }
        ("jacobi", [Scalar(w), Scalar(h), F32(_), F32(_)]) => {
            let (w, h) = (int(w), int(h));
            let groups = plane(w, h, [64, 4]);
            one(include_str!("../../wgsl/jacobi.wgsl"), [w, h, 0, 0], groups)
        }
        ("conv3x3", [Scalar(w), Scalar(h), F32(_), F32(_), F32(_)]) => {
            let (w, h) = (int(w), int(h));
            let groups = plane(w, h, [64, 4]);
            one(include_str!("../../wgsl/conv3x3.wgsl"), [w, h, 0, 0], groups)
        }
        ("black_scholes", [Scalar(rate), Scalar(volatility), F32(s), ..]) => one(
            include_str!("../../wgsl/black_scholes.wgsl"),
            [float(rate), float(volatility), 0, 0],
            over(s.len(), 256),
        ),
        ("mandelbrot", [Scalar(w), Scalar(h), Scalar(limit), U32(_)]) => {
            let (w, h) = (int(w), int(h));
            let groups = plane(w, h, [64, 4]);
            one(include_str!("../../wgsl/mandelbrot.wgsl"), [w, h, int(limit), 0], groups)
        }
        ("nbody", [Scalar(softening), F32(x), ..]) => {
            let groups = over(x.len(), 256);
            Recipe {
                wgsl: include_str!("../../wgsl/nbody.wgsl"),
                numbers: [float(softening), 0, 0, 0],
                scratch: &[],
                ways: vec![vec![("plain", groups)], vec![("tiled", groups)]],
            }
        }
        ("histogram", [U32(x), U32(_)]) => {
            let groups = (x.len() as u32).div_ceil(256 * 16).clamp(1, 4096);
            Recipe {
                wgsl: include_str!("../../wgsl/histogram.wgsl"),
                numbers: [x.len() as u32, 0, 0, 0],
                scratch: &[],
                ways: vec![vec![("main", [groups, 1, 1])], vec![("plain", over(x.len(), 256))]],
            }
        }
        ("spmv", [U32(starts), U32(_), F32(_), F32(_), F32(_)]) => {
            let groups = over(starts.len().saturating_sub(1), 256);
            one(include_str!("../../wgsl/spmv.wgsl"), [0; 4], groups)
        }
        _ => return None,
    })
}

/// A device of wgpu, and the kernel that is ready on it.
pub(crate) struct RawWgpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    ready: Option<Ready>,
}

struct Ready {
    /// The buffers of the arguments; `None` for scalars.
    buffers: Vec<Option<wgpu::Buffer>>,
    bind_group: wgpu::BindGroup,
    ways: Vec<Vec<(wgpu::ComputePipeline, [u32; 3])>>,
    /// The fastest way.
    best: usize,
}

const STORAGE: wgpu::BufferUsages = wgpu::BufferUsages::STORAGE
    .union(wgpu::BufferUsages::COPY_DST)
    .union(wgpu::BufferUsages::COPY_SRC);

impl RawWgpu {
    /// A device of its own on the adapter of that name.
    pub(crate) fn open(adapter: &str) -> Result<RawWgpu, String> {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::VULKAN;
        descriptor.flags = wgpu::InstanceFlags::empty();
        let instance = wgpu::Instance::new(descriptor);
        let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::VULKAN));
        let found = adapters.into_iter().find(|found| found.get_info().name == adapter);
        let adapter = found.ok_or_else(|| format!("wgpu finds no adapter `{adapter}`"))?;
        let descriptor = wgpu::DeviceDescriptor {
            required_limits: adapter.limits(),
            ..wgpu::DeviceDescriptor::default()
        };
        let (device, queue) = pollster::block_on(adapter.request_device(&descriptor))
            .map_err(|error| error.to_string())?;
        Ok(RawWgpu { device, queue, ready: None })
    }

    /// Gets a kernel ready, runs every way to write it once or more on fresh arguments, holds the results
    /// against the reference, and keeps the fastest. Gives its time; in the error, whether it ran.
    pub(crate) fn prepare(&mut self, case: &Case<'_>) -> Result<f64, super::Fault> {
        use super::Fault::{Missing, Wrong};
        let Some(recipe) = recipe(case.entry.name, &case.inputs) else {
            return Err(Missing("no WGSL of this kernel".to_owned()));
        };
        self.ready = None;
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let ready = self.make(&recipe, &case.inputs);
        if let Some(error) = pollster::block_on(scope.pop()) {
            return Err(Missing(error.to_string()));
        }
        let mut best = (f64::INFINITY, 0);
        for way in 0..ready.ways.len() {
            self.fill(&ready, &case.inputs);
            let first = self.run(&ready, way).map_err(Missing)?;
            let found = self.results(&ready, &case.inputs).map_err(Missing)?;
            if let Some(wrong) = case.judge_inputs(&found) {
                return Err(Wrong(wrong));
            }
            // The first run has compiled, which counts where all is short.
            let again = if first < LONG { 3 } else { 0 };
            let seconds = (0..again).try_fold(first, |least, _| {
                self.run(&ready, way).map(|seconds| seconds.min(least)).map_err(Missing)
            })?;
            if seconds < best.0 {
                best = (seconds, way);
            }
        }
        self.ready = Some(Ready { best: best.1, ..ready });
        Ok(best.0)
    }

    /// Runs the kernel that is ready once more.
    pub(crate) fn time(&self) -> Result<f64, String> {
        let ready = self.ready.as_ref().ok_or("no kernel is ready")?;
        self.run(ready, ready.best)
    }

    /// The time of a dispatch that does next to nothing, from the recording to the end of the wait.
    pub(crate) fn make_empty(&mut self) -> Result<(), String> {
        let recipe = Recipe {
            wgsl: include_str!("../../wgsl/saxpy.wgsl"),
            numbers: [0; 4],
            scratch: &[],
            ways: vec![vec![("main", [1, 1, 1])]],
        };
        let x = Input::F32(vec![0.0; 64]);
        let inputs = [Input::Scalar(0.0f32.into()), x.clone(), x];
        let ready = self.make(&recipe, &inputs);
        self.fill(&ready, &inputs);
        self.ready = Some(ready);
        self.time().map(|_| ())
    }

    fn make(&self, recipe: &Recipe, args: &[Input]) -> Ready {
        let device = &self.device;
        let create = |size: u64, usage| {
            device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        let uniform = create(16, wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST);
        self.queue.write_buffer(&uniform, 0, bytemuck::cast_slice(&recipe.numbers));
        let buffers: Vec<Option<wgpu::Buffer>> = args
            .iter()
            .map(|arg| bytes(arg).map(|bytes| create(bytes.len().max(16) as u64, STORAGE)))
            .collect();
        let scratch: Vec<wgpu::Buffer> =
            recipe.scratch.iter().map(|&bytes| create(bytes, STORAGE)).collect();
        let bound: Vec<&wgpu::Buffer> =
            std::iter::once(&uniform).chain(buffers.iter().flatten()).chain(&scratch).collect();
        let layout = |at: usize| {
            let writes = format!("@binding({at}) var<storage, read_write>");
            let ty = match at {
                0 => wgpu::BufferBindingType::Uniform,
                _ => wgpu::BufferBindingType::Storage { read_only: !recipe.wgsl.contains(&writes) },
            };
            wgpu::BindGroupLayoutEntry {
                binding: at as u32,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty,
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
                count: None,
            }
        };
        let entries: Vec<_> = (0..bound.len()).map(layout).collect();
        let layout = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: None,
            entries: &entries,
        });
        let entries: Vec<wgpu::BindGroupEntry<'_>> = (bound.iter().enumerate())
            .map(|(at, buffer)| wgpu::BindGroupEntry {
                binding: at as u32,
                resource: buffer.as_entire_binding(),
            })
            .collect();
        let bind_group = device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &layout,
            entries: &entries,
        });
        let pipeline_layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: None,
            bind_group_layouts: &[Some(&layout)],
            immediate_size: 0,
        });
        let module = device.create_shader_module(wgpu::ShaderModuleDescriptor {
            label: None,
            source: wgpu::ShaderSource::Wgsl(recipe.wgsl.into()),
        });
        let pipeline = |entry: &str| {
            device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: None,
                layout: Some(&pipeline_layout),
                module: &module,
                entry_point: Some(entry),
                compilation_options: wgpu::PipelineCompilationOptions::default(),
                cache: None,
            })
        };
        let ways = recipe.ways.iter();
        let ways = ways
            .map(|way| way.iter().map(|(entry, groups)| (pipeline(entry), *groups)).collect())
            .collect();
        Ready { buffers, bind_group, ways, best: 0 }
    }

    /// Puts the arguments into their buffers.
    fn fill(&self, ready: &Ready, args: &[Input]) {
        for (buffer, arg) in ready.buffers.iter().zip(args) {
            if let (Some(buffer), Some(bytes)) = (buffer, bytes(arg)) {
                self.queue.write_buffer(buffer, 0, bytes);
            }
        }
        self.queue.submit([]);
    }

    /// Runs a way to its end; gives the seconds.
    fn run(&self, ready: &Ready, way: usize) -> Result<f64, String> {
        let start = Instant::now();
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let mut pass = encoder.begin_compute_pass(&Default::default());
        pass.set_bind_group(0, &ready.bind_group, &[]);
        for (pipeline, [x, y, z]) in &ready.ways[way] {
            pass.set_pipeline(pipeline);
            pass.dispatch_workgroups(*x, *y, *z);
        }
        drop(pass);
        self.queue.submit([encoder.finish()]);
        self.wait()?;
        Ok(start.elapsed().as_secs_f64())
    }

    fn wait(&self) -> Result<(), String> {
        let done = self.device.poll(wgpu::PollType::wait_indefinitely());
        done.map(|_| ()).map_err(|error| error.to_string())
    }

    /// What the buffers hold.
    fn results(&self, ready: &Ready, args: &[Input]) -> Result<Vec<Input>, String> {
        let mut found = args.to_vec();
        for (buffer, arg) in ready.buffers.iter().zip(&mut found) {
            let Some(buffer) = buffer else { continue };
            let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size: buffer.size(),
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            let mut encoder = self.device.create_command_encoder(&Default::default());
            encoder.copy_buffer_to_buffer(buffer, 0, &staging, 0, buffer.size());
            self.queue.submit([encoder.finish()]);
            staging.map_async(wgpu::MapMode::Read, .., |_| {});
            self.wait()?;
            let view = staging.get_mapped_range(..).map_err(|error| error.to_string())?;
            match arg {
                Input::F32(v) => fill_from(v, &view),
                Input::U32(v) => fill_from(v, &view),
                Input::I32(v) => fill_from(v, &view),
                Input::Scalar(_) => {}
            }
        }
        Ok(found)
    }
}

fn fill_from<T: bytemuck::Pod>(values: &mut [T], bytes: &[u8]) {
    let out: &mut [u8] = bytemuck::cast_slice_mut(values);
    out.copy_from_slice(&bytes[..out.len()]);
}

/// The bytes of a buffer; `None` for a scalar.
fn bytes(input: &Input) -> Option<&[u8]> {
    match input {
        Input::Scalar(_) => None,
        Input::F32(v) => Some(bytemuck::cast_slice(v)),
        Input::U32(v) => Some(bytemuck::cast_slice(v)),
        Input::I32(v) => Some(bytemuck::cast_slice(v)),
    }
}
