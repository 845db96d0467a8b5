//! Compiled modules, kept from process to process.
//!
//! An entry's key is the hash of the module's bytes and of all that decides, by wasmtime's word, whether code
//! fits an engine (its version, its settings, target and features of the processor).

use std::hash::Hash;
use std::path::PathBuf;

use crossover_cache::{Cache, Key};
use wasmtime::{Engine, Module};

/// A folder of compiled modules.
#[derive(Clone, Debug)]
pub(crate) struct Modules(Cache);

impl Modules {
    /// Nothing is touched until a module is asked for.
    pub(crate) fn new(folder: PathBuf) -> Modules {
        Modules(Cache::new(folder, "cwasm"))
    }

    /// The module of these bytes: from the folder, else compiled and kept there.
    pub(crate) fn module(&self, engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Module> {
        let key = key(engine, wasm);
        if let Some(module) = self.load(engine, &key) {
            return Ok(module);
        }
        let module = Module::new(engine, wasm)?;
        match module.serialize() {
            Ok(code) => self.0.store(&key, &code),
            Err(error) => tracing::debug!(%error, "a module has no stored form"),
        }
        Ok(module)
    }

    fn load(&self, engine: &Engine, key: &Key) -> Option<Module> {
        let code = self.0.load(key)?;
        // SAFETY: wasmtime wants bytes that `Module::serialize` has made and nobody has changed. These
        // are in this process' own memory. `Cache` gives what it was once given, under a key that only the same
        // module and a compatible engine have; it was given that by a process of this user, who alone can
        // write file and folder.
        let module = unsafe { Module::deserialize(engine, &code) };
        module.inspect_err(|error| tracing::debug!(%error, "an entry does not fit")).ok()
    }
}

/// What identifies compiled code.
fn key(engine: &Engine, wasm: &[u8]) -> Key {
    Key::of(|hasher| {
        engine.precompile_compatibility_hash().hash(hasher);
        hasher.part(wasm);
    })
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::{Modules, key};
    use wasmtime::{Engine, Instance, Module, Store};

    /// A folder of a test's own, removed at its end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let name = format!("crossover-modules-{name}-{}", std::process::id());
            Folder(std::env::temp_dir().join(name))
        }

        fn modules(&self) -> Modules {
            Modules::new(self.0.clone())
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _removed = fs::remove_dir_all(&self.0);
        }
    }

    /// `(func (export "f") (result i32) i32.const n)`
    fn wasm(n: u8) -> Vec<u8> {
        let mut bytes = b"\0asm\x01\0\0\0".to_vec();
        bytes.extend([1, 5, 1, 0x60, 0, 1, 0x7f]);
        bytes.extend([3, 2, 1, 0]);
        bytes.extend([7, 5, 1, 1, b'f', 0, 0]);
        bytes.extend([10, 6, 1, 4, 0, 0x41, n, 0x0b]);
        bytes
    }

    fn answer(engine: &Engine, module: &Module) -> i32 {
        let mut store = Store::new(engine, ());
        let instance = Instance::new(&mut store, module, &[]).expect("instantiates");
        let f = instance.get_typed_func::<(), i32>(&mut store, "f").expect("exported");
        f.call(&mut store, ()).expect("runs")
    }

    #[test]
    fn what_was_compiled_is_found_again() {
        let (folder, engine) = (Folder::new("again"), Engine::default());
        let modules = folder.modules();
        assert!(modules.load(&engine, &key(&engine, &wasm(7))).is_none());
        assert_eq!(answer(&engine, &modules.module(&engine, &wasm(7)).expect("compiles")), 7);
        let other = Engine::default();
        let found = folder.modules().load(&other, &key(&other, &wasm(7))).expect("is kept");
        assert_eq!(answer(&other, &found), 7);
        assert!(modules.load(&engine, &key(&engine, &wasm(8))).is_none(), "another module");
        let mut config = wasmtime::Config::new();
        let slow = Engine::new(config.epoch_interruption(true)).expect("an engine");
        assert!(modules.load(&slow, &key(&slow, &wasm(7))).is_none(), "another engine");
    }

    #[test]
    fn an_entry_that_is_damaged_is_compiled_again() {
        let (folder, engine) = (Folder::new("damaged"), Engine::default());
        let modules = folder.modules();
        modules.module(&engine, &wasm(1)).expect("compiles");
        let path = modules.0.path(&key(&engine, &wasm(1)));
        let whole = fs::read(&path).expect("kept");
        let mut damaged = whole.clone();
        damaged[whole.len() / 2] ^= 1;
        fs::write(&path, damaged).expect("writable");
        assert!(modules.load(&engine, &key(&engine, &wasm(1))).is_none());
        assert_eq!(answer(&engine, &modules.module(&engine, &wasm(1)).expect("compiles")), 1);
        assert_eq!(fs::read(&path).expect("kept").len(), whole.len(), "replaced");
    }

    #[test]
    fn a_folder_that_cannot_be_is_no_error() {
        let (folder, engine) = (Folder::new("file"), Engine::default());
        fs::write(&folder.0, b"a file where the folder should be").expect("writable");
        let modules = Modules::new(folder.0.join("below"));
        assert_eq!(answer(&engine, &modules.module(&engine, &wasm(4)).expect("compiles")), 4);
        fs::remove_file(&folder.0).expect("our own");
    }
}
