//! wasmtime, set up so that a slot is the whole of a wasm memory.
//!
//! Only memories that a module *defines* are made by a host's memory creator, in order of their
//! index. So whoever instantiates a module leaves its slots in a queue of the thread, and the
//! creator takes one for each memory.
//!
//! All `unsafe` of this crate is in this file.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::sync::{Arc, OnceLock};

use crossover_memory::{GUARD_BYTES, SLOT_BYTES, Slot};
use wasmtime::{
    Config, Engine, Instance, LinearMemory, MemoryCreator, MemoryType, Module, OptLevel, Store,
};

thread_local! {
    /// The slots of the memories that this thread is about to create.
    static SLOTS: RefCell<VecDeque<Arc<Slot>>> = const { RefCell::new(VecDeque::new()) };
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

/// An instance of the module over these slots, one for each of its memories.
pub(crate) fn instantiate(
    store: &mut Store<()>,
    module: &Module,
    slots: &[Arc<Slot>],
) -> wasmtime::Result<Instance> {
    SLOTS.with_borrow_mut(|queue| {
        queue.clear();
        queue.extend(slots.iter().cloned());
    });
    let instance = Instance::new(store, module, &[]);
    SLOTS.with_borrow_mut(VecDeque::clear);
    instance
}

#[derive(Debug)]
struct Creator;

/// A slot as a wasm memory; alive as long as the store.
struct Window(Arc<Slot>);

// SAFETY: the slot's `SLOT_BYTES` of address space and the guard behind belong to it for as long as
// it lives, which `Window` makes at least as long as the memory. Pages that are not committed fault,
// which wasmtime turns into a trap. Who may access the bytes is decided by the claim that the call
// holds on each slot until all of its stores are dropped.
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
        self.0.base()
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
        let slot = SLOTS.with_borrow_mut(VecDeque::pop_front);
        match slot {
            Some(slot) => Ok(Box::new(Window(slot))),
            None => Err("a module with more memories than slots".to_owned()),
        }
    }
}
