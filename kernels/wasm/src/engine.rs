//! wasmtime, set up so that a slot is the whole of a wasm memory.
//!
//! Only memories that a module *defines* are made by a host's memory creator, in order of their
//! index. So whoever instantiates a module leaves a frame for each in a queue of the thread, and the
//! creator takes one for each memory. A frame says where its memory lies; between two calls it can be
//! laid over another slot, so that an [`Instance`] serves many calls.
//!
//! All `unsafe` of this crate is in this file and in `cache.rs`.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Arc, OnceLock};

use crossover_kernels::exec::Deadline;
use crossover_memory::{GUARD_BYTES, SLOT_BYTES, Slot};
use wasmtime::{
    Config, Engine, Func, Global, LinearMemory, Memory, MemoryCreator, MemoryType, Module,
    OptLevel, Store, UpdateDeadline, Val, ValRaw,
};

use crate::emit::{PARTIAL_NAME, memory_name};

thread_local! {
    /// The frames of the memories that this thread is about to create.
    static FRAMES: RefCell<VecDeque<Arc<Frame>>> = const { RefCell::new(VecDeque::new()) };
}

/// The two engines: modules of one cannot run on the other.
#[derive(Debug)]
pub(crate) struct Engines {
    plain: Engine,
    /// With a test of the epoch at each loop: it halves the speed of tight loops, so only kernels
    /// whose loops no counter bounds pay it.
    interruptible: OnceLock<Engine>,
}

impl Engines {
    pub(crate) fn new() -> wasmtime::Result<Engines> {
        Ok(Engines { plain: Engine::new(&config())?, interruptible: OnceLock::new() })
    }

    /// The engine for kernels with unbounded loops, or for all others.
    pub(crate) fn get(&self, unbounded: bool) -> wasmtime::Result<Engine> {
        if !unbounded {
            return Ok(self.plain.clone());
        }
        if let Some(engine) = self.interruptible.get() {
            return Ok(engine.clone());
        }
        let engine = Engine::new(config().epoch_interruption(true))?;
        Ok(self.interruptible.get_or_init(|| engine).clone())
    }
}

fn config() -> Config {
    let mut config = Config::new();
    config
        .with_host_memory(Arc::new(Creator))
        .cranelift_opt_level(OptLevel::Speed)
        .wasm_simd(true)
        .wasm_relaxed_simd(true)
        .wasm_multi_memory(true)
        .wasm_threads(true)
        .memory_reservation(SLOT_BYTES as u64)
        .memory_guard_size(GUARD_BYTES as u64)
        .memory_may_move(false)
        .memory_init_cow(false)
        .native_unwind_info(false)
        .wasm_backtrace_max_frames(None);
    config
}

/// A module's machine code, for people to read.
pub(crate) struct MachineCode {
    /// The code of all functions.
    pub(crate) text: Vec<u8>,
    /// Each function's name, first byte and number of bytes.
    pub(crate) functions: Vec<(String, usize, usize)>,
    /// Where in the text the code for a byte of the module begins, in order.
    pub(crate) places: Vec<(usize, Option<usize>)>,
}

/// Compiles a module, to be read.
pub(crate) fn machine_code(engine: &Engine, bytes: &[u8]) -> wasmtime::Result<MachineCode> {
    let module = Module::new(engine, bytes)?;
    let name = |at: usize| {
        let exports = module.exports().filter(|export| export.ty().func().is_some());
        exports.map(|export| export.name().to_owned()).nth(at).unwrap_or_else(|| at.to_string())
    };
    let functions = module.functions().enumerate();
    let functions = functions.map(|(at, f)| (name(at), f.offset, f.len)).collect();
    let places = module
        .address_map()
        .map(|map| map.map(|(at, of)| (at, of.map(|of| of as usize))).collect::<Vec<_>>());
    Ok(MachineCode { text: module.text().to_vec(), functions, places: places.unwrap_or_default() })
}

/// An instance of a module, kept from call to call. It holds no slot: each call lends it those that its memories
/// lie over.
pub(crate) struct Instance {
    store: Store<Option<Deadline>>,
    inner: wasmtime::Instance,
    entries: Vec<(Entry, Func, usize)>,
    memories: Vec<(Memory, Arc<Frame>)>,
    /// What collectives combine into, found once: they look at it after every chunk.
    partial: Option<Global>,
}

impl Instance {
    /// An instance with so many memories, which lie over these slots at first, in order.
    pub(crate) fn new<'s>(
        module: &Module,
        slots: impl Iterator<Item = &'s Slot>,
        interrupt: Interrupt,
    ) -> wasmtime::Result<Instance> {
        let frames: Vec<Arc<Frame>> = slots.map(|slot| Arc::new(Frame::over(slot))).collect();
        FRAMES.with_borrow_mut(|queue| {
            queue.clear();
            queue.extend(frames.iter().cloned());
        });
        let mut store: Store<Option<Deadline>> = Store::new(module.engine(), None);
        let inner = wasmtime::Instance::new(&mut store, module, &[]);
        FRAMES.with_borrow_mut(VecDeque::clear);
        let inner = inner?;
        if let Interrupt::At(_) = interrupt {
            store.epoch_deadline_callback(|context| match context.data() {
                Some(deadline) if deadline.has_passed() => {
                    Err(wasmtime::format_err!("the deadline has passed"))
                }
                // The epoch of another call.
                Some(_) | None => Ok(UpdateDeadline::Continue(1)),
            });
        }
        let entries = Entry::ALL.into_iter().filter_map(|entry| {
            let func = inner.get_func(&mut store, entry.name())?;
            let params = func.ty(&store).params().len();
            Some((entry, func, params))
        });
        let entries = entries.collect();
        let memories = frames.into_iter().enumerate().map(|(at, frame)| {
            let memory = inner.get_memory(&mut store, &memory_name(at));
            (memory.expect("every emitted module exports its memories"), frame)
        });
        let memories = memories.collect();
        let partial = inner.get_global(&mut store, PARTIAL_NAME);
        let mut instance = Instance { store, inner, entries, memories, partial };
        instance.interrupt(interrupt);
        Ok(instance)
    }

    /// Lays the memories over slots, in order; gives how many there were.
    fn lay<'s>(&mut self, slots: impl Iterator<Item = &'s Slot>) -> wasmtime::Result<usize> {
        let mut count = 0;
        for ((memory, frame), slot) in self.memories.iter().zip(slots) {
            count += 1;
            let base = slot.base();
            // What a frame says has been so since it was laid, or the instance is not used again.
            if frame.0.load(Ordering::Relaxed) == base {
                continue;
            }
            frame.0.store(base, Ordering::Relaxed);
            // Growing, by nothing, makes wasmtime ask again where the memory lies.
            memory.grow(&mut self.store, 0)?;
            if memory.data_ptr(&self.store) != base {
                return Err(wasmtime::format_err!("a memory that cannot be moved"));
            }
        }
        Ok(count)
    }

    /// Says when the calls that follow can be stopped.
    pub(crate) fn interrupt(&mut self, interrupt: Interrupt) {
        if let Interrupt::At(deadline) = interrupt {
            *self.store.data_mut() = deadline;
            // Whoever says so looks at the clock after this: the alarm of a deadline that has not
            // passed by then is still to come.
            self.store.set_epoch_deadline(1);
        }
    }

    /// Calls an entry over slots, one for each memory in order; gives what it returns. The parameters are
    /// overwritten.
    ///
    /// # Panics
    /// When slots or parameters are missing.
    pub(crate) fn call<'s>(
        &mut self,
        slots: impl Iterator<Item = &'s Slot>,
        entry: Entry,
        params: &mut [ValRaw],
    ) -> wasmtime::Result<i32> {
        let count = self.lay(slots)?;
        assert_eq!(count, self.memories.len(), "an instance is called over as many as it has");
        let found = self.entries.iter().find(|(known, ..)| *known == entry);
        let (_, func, count) = found.expect("every emitted module exports its entries");
        assert!(
            !params.is_empty() && params.len() == *count,
            "an entry is called with its parameters"
        );
        // SAFETY: the array has room for all parameters and for the one result. All of them are
        // numbers, for which any bits are valid. All memories lie over slots that are lent to this call,
        // and so live longer than it takes.
        unsafe { func.call_unchecked(&mut self.store, params) }?;
        Ok(params[0].get_i32())
    }

    /// The bits of what a collective has combined; none where the module is of no collective.
    pub(crate) fn partial(&mut self) -> Option<u64> {
        self.partial.map(|global| bits(global.get(&mut self.store)))
    }

    /// The bits of an exported global.
    pub(crate) fn global(&mut self, name: &str) -> u64 {
        let global = self.inner.get_global(&mut self.store, name);
        let global = global.expect("every emitted module exports its globals");
        bits(global.get(&mut self.store))
    }
}

fn bits(value: Val) -> u64 {
    match value {
        Val::I64(bits) => bits.cast_unsigned(),
        Val::F32(bits) => u64::from(bits),
        Val::F64(bits) => bits,
        Val::I32(bits) => u64::from(bits.cast_unsigned()),
        _ => unreachable!("the globals of an emitted module are numbers"),
    }
}

/// The functions of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Of all modules.
    Run,
    /// The second pass of scans.
    Scan,
}

impl Entry {
    const ALL: [Entry; 2] = [Entry::Run, Entry::Scan];

    fn name(self) -> &'static str {
        match self {
            Entry::Run => "run",
            Entry::Scan => "scan",
        }
    }
}

/// Whether an instance can be stopped inside a call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Interrupt {
    /// No: its engine has no epochs.
    Never,
    /// When the epoch advances and this deadline, if there is one, has passed.
    At(Option<Deadline>),
}

/// Where a memory lies.
#[derive(Debug)]
struct Frame(AtomicPtr<u8>);

impl Frame {
    fn over(slot: &Slot) -> Frame {
        Frame(AtomicPtr::new(slot.base()))
    }
}

#[derive(Debug)]
struct Creator;

/// A frame as a wasm memory.
struct Window(Arc<Frame>);

// SAFETY: `Instance` is the only one to make modules instances and to call them. Whenever code of one
// runs, its frames point to slots that are lent to that call, and the `SLOT_BYTES` of address space of a
// slot and the guard behind belong to the slot. Pages that are not committed fault, which wasmtime
// turns into a trap. Between calls, when a frame may point to a slot that is gone, nobody follows it:
// no module has a start function or data, and `Memory::data` is not used. Who may access the bytes is
// decided by the claim that the call holds on each slot until its instances are released.
unsafe impl LinearMemory for Window {
    fn byte_size(&self) -> usize {
        SLOT_BYTES
    }

    fn byte_capacity(&self) -> usize {
        SLOT_BYTES
    }

    fn grow_to(&mut self, _new_size: usize) -> wasmtime::Result<()> {
        Err(wasmtime::format_err!("a slot does not grow"))
    }

    fn as_ptr(&self) -> *mut u8 {
        self.0.0.load(Ordering::Relaxed)
    }
}

// SAFETY: the memory handed out reserves `SLOT_BYTES` and `GUARD_BYTES`, which is what the engine's
// configuration asks for; anything larger is refused.
unsafe impl MemoryCreator for Creator {
    fn new_memory(
        &self,
        _ty: MemoryType,
        minimum: usize,
        _maximum: Option<usize>,
        reserved: Option<usize>,
        guard: usize,
    ) -> Result<Box<dyn LinearMemory>, String> {
        if minimum > SLOT_BYTES || reserved.unwrap_or(0) > SLOT_BYTES || guard > GUARD_BYTES {
            return Err("a memory beyond a slot".to_owned());
        }
        let frame = FRAMES.with_borrow_mut(VecDeque::pop_front);
        match frame {
            Some(frame) => Ok(Box::new(Window(frame))),
            None => Err("a module with more memories than slots".to_owned()),
        }
    }
}
