//! The one feature table: what the cost model is told about a call.
//!
//! A caller starts from [`Features::missing`] and sets what it knows, each value in the unit the
//! table names. What it does not know stays missing, which is not zero: the network sees a flag
//! and the median of the training set in its place.
//!
//! To add a feature: add a line to the table and raise [`VERSION`]. Data sets and weight files of
//! another version are then refused, not misread.

use crate::encoder::Encoder;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// The version of the table. Raised whenever a line is added, removed, moved, or changes meaning.
pub const VERSION: u32 = 2;

/// Where a feature comes from, which is also how long it stays valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Group {
    /// From the kernel's code alone: fixed for a compiled version.
    Static,
    /// From the arguments of the call.
    Dynamic,
    /// From the state of the machine at the moment of the call.
    Contextual,
    /// From the probes of the first start on a machine.
    Device,
    /// Lower bounds on the time, computed from the other groups.
    Roofline,
}

/// How a raw value becomes a number of a scale that a network can use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Encoding {
    /// `log2(1 + x)`, with the sign kept: for counts, bytes and rates.
    Log2p1,
    /// `log2(1 + x · 10⁹)`: for seconds, which are all far below one.
    Log2Ns,
    /// `x` as it is: for fractions and flags.
    Linear,
}

impl Encoding {
    /// The encoded value of the raw value `x`. NaN (missing) stays NaN.
    ///
    /// ```
    /// use crossover_ml::features::Encoding;
    /// assert_eq!([0.0, 1.0, 7.0].map(|x| Encoding::Log2p1.apply(x)), [0.0, 1.0, 3.0]);
    /// assert!(Encoding::Log2Ns.apply(f32::NAN).is_nan(), "missing is not zero");
    /// ```
    #[must_use]
    pub fn apply(self, x: f32) -> f32 {
        match self {
            Encoding::Log2p1 => (1.0 + x.abs()).log2().copysign(x),
            // Not `max`, which would turn a missing value into zero.
            Encoding::Log2Ns if x < 0.0 => 0.0,
            Encoding::Log2Ns => (1.0 + x * 1e9).log2(),
            Encoding::Linear => x,
        }
    }
}

/// One line of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureInfo {
    /// The name in files and reports.
    pub name: &'static str,
    /// Where it comes from.
    pub group: Group,
    /// The unit of the raw value; `1` for a pure number.
    pub unit: &'static str,
    /// How it is encoded for the network.
    pub encoding: Encoding,
    /// What it means, in one line.
    pub meaning: &'static str,
}

macro_rules! features {
    ($($ident:ident, $name:literal, $group:ident, $unit:literal, $encoding:ident, $meaning:literal;)*) => {
        /// A line of the feature table; its number is its place in [`FEATURES`].
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(usize)]
        pub enum Feature {
            $(#[doc = concat!($meaning, " Unit: ", $unit, ".")] $ident,)*
        }

        /// How many features there are.
        pub const COUNT: usize = [$(Feature::$ident),*].len();

        /// The table, in the order of [`Feature`].
        pub static FEATURES: [FeatureInfo; COUNT] = [
            $(FeatureInfo {
                name: $name,
                group: Group::$group,
                unit: $unit,
                encoding: Encoding::$encoding,
                meaning: $meaning,
            },)*
        ];

        impl Feature {
            /// Every feature, in the order of the table.
            pub const ALL: [Feature; COUNT] = [$(Feature::$ident),*];
        }
    };
}

features! {
    // From the kernel's code, an item of the grid, weighted by trip counts.
    OpsFloatAddMul, "ops_float_add_mul", Static, "ops/item", Log2p1, "Floating-point additions, multiplications and their fusions.";
    OpsDivSqrt, "ops_div_sqrt", Static, "ops/item", Log2p1, "Floating-point divisions and square roots.";
    OpsTranscendental, "ops_transcendental", Static, "ops/item", Log2p1, "Exponentials, logarithms, powers and trigonometric functions.";
    OpsIntAddLogic, "ops_int_add_logic", Static, "ops/item", Log2p1, "Integer additions, shifts and bit operations.";
    OpsIntMulDiv, "ops_int_mul_div", Static, "ops/item", Log2p1, "Integer multiplications, divisions and remainders.";
    OpsCompareSelect, "ops_compare_select", Static, "ops/item", Log2p1, "Comparisons, selections, minima and maxima.";
    OpsCastShuffle, "ops_cast_shuffle", Static, "ops/item", Log2p1, "Conversions and lane movements.";
    Loads, "loads", Static, "ops/item", Log2p1, "Loads.";
    Stores, "stores", Static, "ops/item", Log2p1, "Stores.";
    LoadBytes, "load_bytes", Static, "B/item", Log2p1, "Bytes loaded.";
    StoreBytes, "store_bytes", Static, "B/item", Log2p1, "Bytes stored.";
    UnitStrideFraction, "unit_stride_fraction", Static, "1", Linear, "Share of the accesses whose neighbours are next to each other.";
    StridedFraction, "strided_fraction", Static, "1", Linear, "Share of the accesses at a constant distance greater than one.";
    GatherFraction, "gather_fraction", Static, "1", Linear, "Share of the accesses at an index that was itself computed.";
    UniformFraction, "uniform_fraction", Static, "1", Linear, "Share of the accesses at one place for all items.";
    FlopsPerByte, "flops_per_byte", Static, "flop/B", Log2p1, "Arithmetic intensity: operations over bytes accessed.";
    AccessedPerUniqueByte, "accessed_per_unique_byte", Static, "1", Log2p1, "Reuse: bytes accessed over bytes of the buffers.";
    BranchesPer100Ops, "branches_per_100_ops", Static, "1/100 ops", Log2p1, "Branches among a hundred operations.";
    DivergentFraction, "divergent_fraction", Static, "1", Linear, "Share of the operations under a condition that differs between items.";
    LoopDepth, "loop_depth", Static, "levels", Linear, "Depth of the deepest nest of loops.";
    LoopsCount, "loops_count", Static, "loops", Log2p1, "Loops in the kernel.";
    DataDependentTripsFraction, "data_dependent_trips_fraction", Static, "1", Linear, "Share of the loops whose trip count is known only from data.";
    ReductionOrScan, "reduction_or_scan", Static, "0 or 1", Linear, "Whether the kernel is a reduction or a scan.";
    Atomics, "atomics", Static, "ops/item", Log2p1, "Atomic operations.";
    Barriers, "barriers", Static, "ops/item", Log2p1, "Workgroup barriers.";
    SharedBytes, "shared_bytes", Static, "B/workgroup", Log2p1, "Workgroup memory.";
    LiveValues, "live_values", Static, "values", Log2p1, "Values alive at the widest place: register pressure.";
    OpsOverCriticalPath, "ops_over_critical_path", Static, "1", Log2p1, "Operations over the length of the longest dependence: parallelism within an item.";
    SimdFraction, "simd_fraction", Static, "1", Linear, "Share of the operations that widen to SIMD.";
    Wide64Fraction, "wide64_fraction", Static, "1", Linear, "Share of the operations on 64-bit values.";

    // From the arguments of the call.
    Items, "items", Dynamic, "items", Log2p1, "Items of the grid.";
    ExtentX, "extent_x", Dynamic, "items", Log2p1, "Extent of the grid along x.";
    ExtentY, "extent_y", Dynamic, "items", Log2p1, "Extent of the grid along y.";
    ExtentZ, "extent_z", Dynamic, "items", Log2p1, "Extent of the grid along z.";
    TripProduct, "trip_product", Dynamic, "trips/item", Log2p1, "Product of the loop trip counts, resolved from the arguments.";
    Flops, "flops", Dynamic, "flop", Log2p1, "Floating-point operations of the whole call.";
    Bytes, "bytes", Dynamic, "B", Log2p1, "Bytes accessed by the whole call.";
    BytesIn, "bytes_in", Dynamic, "B", Log2p1, "Bytes of the buffers that are read.";
    BytesOut, "bytes_out", Dynamic, "B", Log2p1, "Bytes of the buffers that are written.";
    UploadBytes, "upload_bytes", Dynamic, "B", Log2p1, "Bytes that are not resident on the GPU and would be uploaded.";
    ReadbackBytes, "readback_bytes", Dynamic, "B", Log2p1, "Bytes that would be read back from the GPU.";
    ResidentFraction, "resident_fraction", Dynamic, "1", Linear, "Share of the arguments' bytes that are resident on the GPU.";
    WorkingSetOverL1, "working_set_over_l1", Dynamic, "1", Log2p1, "Working set over the first-level cache.";
    WorkingSetOverLlc, "working_set_over_llc", Dynamic, "1", Log2p1, "Working set over the last-level cache.";
    WorkingSetOverDeviceMemory, "working_set_over_device_memory", Dynamic, "1", Log2p1, "Working set over the memory of the GPU.";
    WorkgroupSize, "workgroup_size", Dynamic, "invocations", Log2p1, "Invocations of a workgroup.";
    Waves, "waves", Dynamic, "waves", Log2p1, "Times the GPU is filled by the call: invocations over its width.";
    TailEfficiency, "tail_efficiency", Dynamic, "1", Linear, "Share of the invocations of all whole waves that have an item.";
    ExtentModuloLanes, "extent_modulo_lanes", Dynamic, "items", Log2p1, "Items left over after whole SIMD vectors.";
    BatchedCalls, "batched_calls", Dynamic, "calls", Log2p1, "Calls that the GPU would have at once: this one, and those it has not ended.";
    PipelineCached, "pipeline_cached", Dynamic, "0 or 1", Linear, "Whether the GPU pipeline is already compiled.";
    SizeBucket, "size_bucket", Dynamic, "log2 items", Linear, "Whole part of the binary logarithm of the items.";

    // From the machine at the moment of the call.
    RunnableThreadsPerCore, "runnable_threads_per_core", Contextual, "threads/core", Log2p1, "Runnable threads of the whole system, but the one that asks, over cores.";
    CpuUtilisation, "cpu_utilisation", Contextual, "1", Linear, "Share of the CPU that other processes kept busy of late.";
    GpuQueueS, "gpu_queue_s", Contextual, "s", Log2Ns, "Predicted time until the GPU's queue is empty.";
    SinceSubmitS, "since_submit_s", Contextual, "s", Log2Ns, "Time since the GPU ended its last call: an idle one lowers its clock.";
    FreeMemoryBytes, "free_memory_bytes", Contextual, "B", Log2p1, "Memory that programs can still get.";
    OnBattery, "on_battery", Contextual, "0 or 1", Linear, "Whether the machine runs on its battery.";
    ClockRatio, "clock_ratio", Contextual, "1", Linear, "Present clock of the first core over its highest.";
    Visits, "visits", Contextual, "calls", Log2p1, "Calls of this kernel before this one.";
    OwnJobs, "own_jobs", Contextual, "calls", Log2p1, "Calls of this process that are under way.";

    // From the probes of the first start.
    Cores, "cores", Device, "cores", Log2p1, "Physical CPU cores.";
    Threads, "threads", Device, "threads", Log2p1, "Hardware threads.";
    Lanes, "lanes", Device, "lanes", Log2p1, "SIMD lanes of 32 bits.";
    CpuGflops, "cpu_gflops", Device, "Gflop/s", Log2p1, "Arithmetic rate of SIMD WebAssembly on all threads.";
    ScalarNsPerOp, "scalar_ns_per_op", Device, "ns/op", Log2p1, "Time of a dependent scalar operation.";
    ThreadScaling, "thread_scaling", Device, "1", Linear, "Rate on all threads over rate on one, over threads.";
    CpuBandwidthOneGbs, "cpu_bandwidth_one_gbs", Device, "GB/s", Log2p1, "Memory bandwidth of one thread.";
    CpuBandwidthAllGbs, "cpu_bandwidth_all_gbs", Device, "GB/s", Log2p1, "Memory bandwidth of all threads.";
    LlcKneeBytes, "llc_knee_bytes", Device, "B", Log2p1, "Working set beyond which the bandwidth of one thread falls: the last-level cache.";
    WorkerWakeS, "worker_wake_s", Device, "s", Log2Ns, "Time to wake the worker pool and come back.";
    GpuGflops, "gpu_gflops", Device, "Gflop/s", Log2p1, "Arithmetic rate of the GPU.";
    GpuBandwidthGbs, "gpu_bandwidth_gbs", Device, "GB/s", Log2p1, "Memory bandwidth of the GPU.";
    GpuGatherGbs, "gpu_gather_gbs", Device, "GB/s", Log2p1, "Bandwidth of gathers on the GPU.";
    GpuTranscendentalGops, "gpu_transcendental_gops", Device, "Gop/s", Log2p1, "Rate of transcendental functions on the GPU.";
    GpuAtomicGops, "gpu_atomic_gops", Device, "Gop/s", Log2p1, "Rate of atomic operations on the GPU.";
    EmptyDispatchS, "empty_dispatch_s", Device, "s", Log2Ns, "Time of a dispatch that does nothing.";
    ReadbackLatencyS, "readback_latency_s", Device, "s", Log2Ns, "Time to read one word back.";
    UploadGbs, "upload_gbs", Device, "GB/s", Log2p1, "Bandwidth of uploads.";
    DownloadGbs, "download_gbs", Device, "GB/s", Log2p1, "Bandwidth of downloads.";
    UnifiedMemory, "unified_memory", Device, "0 or 1", Linear, "Whether CPU and GPU share their memory.";
    MaxBindingBytes, "max_binding_bytes", Device, "B", Log2p1, "Largest storage buffer that can be bound.";
    GpuWidth, "gpu_width", Device, "invocations", Log2p1, "Invocations at which the GPU is full: those of its latency times its rate.";
    ShaderCompileS, "shader_compile_s", Device, "s", Log2Ns, "Time to compile a small compute pipeline.";

    // Lower bounds on the kernel time. The network predicts the residual to the two times.
    CpuComputeS, "cpu_compute_s", Roofline, "s", Log2Ns, "Operations over the CPU's arithmetic rate.";
    CpuMemoryS, "cpu_memory_s", Roofline, "s", Log2Ns, "Bytes over the CPU's bandwidth at this working set.";
    CpuTimeS, "cpu_time_s", Roofline, "s", Log2Ns, "Roofline time on the CPU: the larger term, plus waking the workers.";
    GpuComputeS, "gpu_compute_s", Roofline, "s", Log2Ns, "Operations over the GPU's arithmetic rate.";
    GpuMemoryS, "gpu_memory_s", Roofline, "s", Log2Ns, "Bytes over the GPU's bandwidth.";
    GpuTimeS, "gpu_time_s", Roofline, "s", Log2Ns, "Roofline time on the GPU: the larger term, plus an empty dispatch.";
}

impl Feature {
    /// This feature's line of the table.
    ///
    /// ```
    /// use crossover_ml::{Feature, features::Group};
    /// let info = Feature::EmptyDispatchS.info();
    /// assert_eq!((info.name, info.unit, info.group), ("empty_dispatch_s", "s", Group::Device));
    /// ```
    #[must_use]
    pub fn info(self) -> &'static FeatureInfo {
        &FEATURES[self as usize]
    }

    /// The feature of that name, if there is one.
    ///
    /// ```
    /// use crossover_ml::Feature;
    /// assert_eq!(Feature::from_name("items"), Some(Feature::Items));
    /// assert_eq!(Feature::from_name("itmes"), None);
    /// ```
    #[must_use]
    pub fn from_name(name: &str) -> Option<Feature> {
        Feature::ALL.into_iter().find(|feature| feature.info().name == name)
    }
}

/// What is known of one call: a value a feature, in the table's units, or missing.
///
/// In files it is a map from name to value, without the missing ones.
#[derive(Clone, Copy)]
pub struct Features([f32; COUNT]);

impl Features {
    /// Nothing is known.
    ///
    /// ```
    /// use crossover_ml::Features;
    /// assert_eq!(Features::missing().iter().count(), 0);
    /// ```
    #[must_use]
    pub fn missing() -> Features {
        Features([f32::NAN; COUNT])
    }

    /// Sets a feature, in the unit of its line. A value that is not finite makes it missing.
    ///
    /// ```
    /// use crossover_ml::{Feature, Features};
    /// let mut call = Features::missing();
    /// call.set(Feature::Items, 4096.0);
    /// call.set(Feature::Items, f64::NAN);
    /// assert_eq!(call.get(Feature::Items), None, "no number is no value");
    /// ```
    pub fn set(&mut self, feature: Feature, value: f64) {
        let value = value as f32;
        self.0[feature as usize] = if value.is_finite() { value } else { f32::NAN };
    }

    /// The value of a feature, in the unit of its line, or `None` if it is missing.
    ///
    /// ```
    /// use crossover_ml::{Feature, Features};
    /// let mut call = Features::missing();
    /// call.set(Feature::Items, 0.0);
    /// assert_eq!(call.get(Feature::Items), Some(0.0));
    /// assert_eq!(call.get(Feature::Flops), None);
    /// ```
    #[must_use]
    pub fn get(&self, feature: Feature) -> Option<f64> {
        let value = self.0[feature as usize];
        (!value.is_nan()).then_some(f64::from(value))
    }

    /// Every value through the encoding of its line; NaN where missing.
    ///
    /// ```
    /// use crossover_ml::{Feature, Features};
    /// let mut call = Features::missing();
    /// call.set(Feature::Items, 255.0);
    /// assert_eq!(call.transformed()[Feature::Items as usize], 8.0);
    /// ```
    #[must_use]
    pub fn transformed(&self) -> [f32; COUNT] {
        let mut values = self.0;
        for (value, info) in values.iter_mut().zip(&FEATURES) {
            *value = info.encoding.apply(*value);
        }
        values
    }

    /// The inputs of a network: see [`Encoder`].
    ///
    /// ```
    /// use crossover_ml::{Encoder, Features, InputForm};
    /// let rows = [Features::missing(); 3];
    /// let encoder = Encoder::fit(&rows, InputForm::Plain)?;
    /// assert_eq!(rows[0].encode(&encoder).len(), encoder.inputs_count());
    /// # Ok::<(), crossover_ml::Error>(())
    /// ```
    #[must_use]
    pub fn encode(&self, encoder: &Encoder) -> Vec<f32> {
        let mut inputs = vec![0.0; encoder.inputs_count()];
        encoder.encode(&self.transformed(), &mut inputs);
        inputs
    }

    /// The set features with their values, in the order of the table.
    ///
    /// ```
    /// use crossover_ml::{Feature, Features};
    /// let mut call = Features::missing();
    /// call.set(Feature::Items, 16.0);
    /// assert_eq!(call.iter().collect::<Vec<_>>(), [(Feature::Items, 16.0)]);
    /// ```
    pub fn iter(&self) -> impl Iterator<Item = (Feature, f64)> + '_ {
        Feature::ALL.into_iter().filter_map(|feature| Some((feature, self.get(feature)?)))
    }
}

impl Default for Features {
    fn default() -> Self {
        Features::missing()
    }
}

impl fmt::Debug for Features {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map()
            .entries(self.iter().map(|(feature, value)| (feature.info().name, value)))
            .finish()
    }
}

impl PartialEq for Features {
    /// Missing equals missing.
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Serialize for Features {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.iter().count()))?;
        for (feature, _) in self.iter() {
            map.serialize_entry(feature.info().name, &self.0[feature as usize])?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Features {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ByName;
        impl<'de> Visitor<'de> for ByName {
            type Value = Features;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map from feature name to value")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Features, A::Error> {
                let mut features = Features::missing();
                while let Some((name, value)) = map.next_entry::<String, f32>()? {
                    let feature = Feature::from_name(&name).ok_or_else(|| {
                        A::Error::custom(format_args!("unknown feature `{name}`"))
                    })?;
                    features.set(feature, f64::from(value));
                }
                Ok(features)
            }
        }
        deserializer.deserialize_map(ByName)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_the_designed_groups_and_unique_names() {
        let count = |group| FEATURES.iter().filter(|info| info.group == group).count();
        let groups =
            [Group::Static, Group::Dynamic, Group::Contextual, Group::Device, Group::Roofline];
        assert_eq!(groups.map(count), [30, 22, 9, 23, 6]);
        assert_eq!(COUNT, 90);
        for feature in Feature::ALL {
            assert_eq!(Feature::from_name(feature.info().name), Some(feature));
        }
    }

    #[test]
    fn features_survive_json_and_unknown_names_are_refused() {
        let mut features = Features::missing();
        features.set(Feature::Items, 1e9 + 0.3);
        features.set(Feature::CpuTimeS, 3.3e-7);
        features.set(Feature::Flops, f64::INFINITY);
        let text = serde_json::to_string(&features).unwrap();
        assert_eq!(serde_json::from_str::<Features>(&text).unwrap(), features);
        assert_eq!(features.get(Feature::Flops), None);
        assert!(serde_json::from_str::<Features>(r#"{"nonsense":1}"#).is_err());
    }

    #[test]
    fn encodings_keep_missing_missing_and_order() {
        for encoding in [Encoding::Log2p1, Encoding::Log2Ns, Encoding::Linear] {
            assert!(encoding.apply(f32::NAN).is_nan());
            assert!(encoding.apply(1e-6) < encoding.apply(2e-6));
            assert_eq!(encoding.apply(0.0), 0.0);
        }
        assert_eq!(Encoding::Log2p1.apply(-1.0), -1.0);
    }
}
