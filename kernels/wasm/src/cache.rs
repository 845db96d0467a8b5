//! Compiled modules, kept in a folder from process to process.
//!
//! An entry is a file named by its key: the hash of the module's bytes and of all that decides, by
//! wasmtime's word, whether code fits an engine (its version, its settings, target and features of the
//! processor). It holds
//!
//! ```text
//! magic | hash of key and code | code
//! ```
//!
//! so that an entry that is cut, damaged, or another's under this name is not believed: it is compiled
//! anew, and replaced. Processes share the folder; an entry appears whole, by renaming. Nothing of it
//! is needed: whatever fails costs a compilation and nothing else.
//!
//! Code that is read is code that runs. So entries are taken only from a folder and a file that belong
//! to the user of this process and that nobody else may write.

use std::fs::{self, File, Metadata};
use std::hash::Hash;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use wasmtime::{Engine, Module};

/// What entries begin with; another layout has another.
const MAGIC: &[u8; 8] = b"xovercw1";

/// Bytes of magic and hash.
const HEAD_BYTES: usize = MAGIC.len() + blake3::OUT_LEN;

/// How entries are called.
const ENTRY: &str = "cwasm";

/// How they are called until they are whole, and when such a file is left over from a process that
/// has died.
const PART: &str = "part";
const PART_AGE_MAX: Duration = Duration::from_secs(3600);

/// Bytes of all entries; those that were not used for longest go first. A kernel takes some tens of
/// thousands.
const BYTES_MAX: u64 = 64 << 20;

/// A folder of compiled modules.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    folder: PathBuf,
    bytes_max: u64,
}

impl Cache {
    /// Nothing is touched until a module is asked for.
    pub(crate) fn new(folder: PathBuf) -> Cache {
        Cache { folder, bytes_max: BYTES_MAX }
    }

    /// The module of these bytes: from the folder, else compiled and kept there.
    pub(crate) fn module(&self, engine: &Engine, wasm: &[u8]) -> wasmtime::Result<Module> {
        let key = key(engine, wasm);
        if let Some(module) = self.load(engine, &key) {
            return Ok(module);
        }
        let module = Module::new(engine, wasm)?;
        // What cannot be kept is compiled again next time.
        match module.serialize() {
            Ok(code) => {
                if let Err(error) = self.store(&key, &code) {
                    tracing::debug!(folder = %self.folder.display(), %error, "a module is not kept");
                }
            }
            Err(error) => tracing::debug!(%error, "a module has no stored form"),
        }
        Ok(module)
    }

    fn load(&self, engine: &Engine, key: &blake3::Hash) -> Option<Module> {
        let entry = self.read(key)?;
        let code = &entry[HEAD_BYTES..];
        // SAFETY: wasmtime wants bytes that `Module::serialize` has made and nobody has changed. These
        // are in this process' own memory. They carry the hash that `store` wrote with what it got from
        // there, under a key that only the same module and a compatible engine have; and they come from
        // a file and a folder that, by `is_own`, only the user of this process can write.
        let module = unsafe { Module::deserialize(engine, code) };
        module.inspect_err(|error| tracing::debug!(%error, "an entry does not fit")).ok()
    }

    /// An entry, whole and our own.
    fn read(&self, key: &blake3::Hash) -> Option<Vec<u8>> {
        if !is_own(&fs::metadata(&self.folder).ok()?) {
            return None;
        }
        let mut file = File::open(self.path(key)).ok()?;
        let about = file.metadata().ok()?;
        if !about.is_file() || !is_own(&about) || about.len() > self.bytes_max {
            return None;
        }
        let mut entry = Vec::new();
        file.read_to_end(&mut entry).ok()?;
        let code = entry.get(HEAD_BYTES..)?;
        if entry[..HEAD_BYTES] != head(key, code) {
            return None;
        }
        // Used just now. Where that cannot be noted, the entry only goes sooner.
        let _noted = file.set_modified(SystemTime::now());
        Some(entry)
    }

    fn store(&self, key: &blake3::Hash, code: &[u8]) -> io::Result<()> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        if (HEAD_BYTES + code.len()) as u64 > self.bytes_max {
            return Ok(());
        }
        create_folder(&self.folder)?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let part = self.folder.join(format!("{}-{number}.{PART}", std::process::id()));
        let written = create_file(&part).and_then(|mut file| {
            file.write_all(&head(key, code))?;
            file.write_all(code)?;
            fs::rename(&part, self.path(key))
        });
        if written.is_err() {
            // What is left over goes later, if not now.
            let _removed = fs::remove_file(&part);
        }
        written?;
        self.shrink()
    }

    fn path(&self, key: &blake3::Hash) -> PathBuf {
        self.folder.join(format!("{}.{ENTRY}", key.to_hex()))
    }

    /// Removes the entries that were not used for longest, until the rest fits, and what dead
    /// processes have left. Other processes may be at the same.
    fn shrink(&self) -> io::Result<()> {
        let now = SystemTime::now();
        let mut entries = Vec::new();
        for file in fs::read_dir(&self.folder)?.flatten() {
            let path = file.path();
            let Ok(about) = file.metadata() else { continue };
            let used = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            match path.extension().and_then(|extension| extension.to_str()) {
                Some(ENTRY) => entries.push((used, about.len(), path)),
                Some(PART) if now.duration_since(used).is_ok_and(|age| age > PART_AGE_MAX) => {
                    let _removed = fs::remove_file(path);
                }
                Some(_) | None => {}
            }
        }
        let mut bytes: u64 = entries.iter().map(|(_, bytes, _)| bytes).sum();
        entries.sort();
        for (_, size, path) in entries {
            if bytes <= self.bytes_max {
                break;
            }
            let _removed = fs::remove_file(path);
            bytes -= size;
        }
        Ok(())
    }
}

/// What identifies compiled code.
fn key(engine: &Engine, wasm: &[u8]) -> blake3::Hash {
    let mut words = Words(blake3::Hasher::new());
    engine.precompile_compatibility_hash().hash(&mut words);
    words.0.update(blake3::hash(wasm).as_bytes());
    words.0.finalize()
}

/// What an entry begins with.
fn head(key: &blake3::Hash, code: &[u8]) -> [u8; HEAD_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(key.as_bytes());
    hasher.update(code);
    let mut head = [0; HEAD_BYTES];
    head[..MAGIC.len()].copy_from_slice(MAGIC);
    head[MAGIC.len()..].copy_from_slice(hasher.finalize().as_bytes());
    head
}

/// Collects what `Hash` implementations write.
struct Words(blake3::Hasher);

impl std::hash::Hasher for Words {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        self.0.finalize().as_bytes().first_chunk().map_or(0, |word| u64::from_le_bytes(*word))
    }
}

/// Whether a file or folder is this user's, and nobody else may write it.
fn is_own(about: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    // SAFETY: asks for a number of this process.
    let user = unsafe { libc::geteuid() };
    about.uid() == user && about.mode() & 0o022 == 0
}

fn create_folder(folder: &Path) -> io::Result<()> {
    use std::os::unix::fs::DirBuilderExt;
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

fn create_file(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;
    use std::time::{Duration, SystemTime};

    use super::{Cache, HEAD_BYTES, key};
    use wasmtime::{Engine, Instance, Module, Store};

    /// A folder of a test's own, removed at its end.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str) -> Folder {
            let name = format!("crossover-cache-{name}-{}", std::process::id());
            Folder(std::env::temp_dir().join(name))
        }

        fn cache(&self) -> Cache {
            Cache::new(self.0.clone())
        }

        fn names(&self) -> Vec<String> {
            let files = fs::read_dir(&self.0).into_iter().flatten().flatten();
            let mut names: Vec<String> =
                files.map(|file| file.file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names
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
        let cache = folder.cache();
        assert!(cache.load(&engine, &key(&engine, &wasm(7))).is_none());
        assert_eq!(answer(&engine, &cache.module(&engine, &wasm(7)).expect("compiles")), 7);
        let other = Engine::default();
        let found = folder.cache().load(&other, &key(&other, &wasm(7))).expect("is kept");
        assert_eq!(answer(&other, &found), 7);
        assert!(cache.load(&engine, &key(&engine, &wasm(8))).is_none(), "another module");
        let mut config = wasmtime::Config::new();
        let slow = Engine::new(config.epoch_interruption(true)).expect("an engine");
        assert!(cache.load(&slow, &key(&slow, &wasm(7))).is_none(), "another engine");
    }

    #[test]
    fn an_entry_that_is_cut_damaged_or_anothers_is_replaced() {
        let (folder, engine) = (Folder::new("damaged"), Engine::default());
        let cache = folder.cache();
        let path = cache.path(&key(&engine, &wasm(1)));
        cache.module(&engine, &wasm(1)).expect("compiles");
        cache.module(&engine, &wasm(2)).expect("compiles");
        let whole = fs::read(&path).expect("kept");
        let foreign = fs::read(cache.path(&key(&engine, &wasm(2)))).expect("kept");
        let flipped = |at: usize| {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            bytes
        };
        let cut = |len: usize| whole[..len].to_vec();
        let last = whole.len() - 1;
        for (what, bytes) in [
            ("empty", Vec::new()),
            ("cut in its head", cut(5)),
            ("head alone", cut(HEAD_BYTES)),
            ("cut", cut(last)),
            ("of another layout", flipped(0)),
            ("with another hash", flipped(20)),
            ("damaged at the begin", flipped(HEAD_BYTES)),
            ("damaged at the end", flipped(last)),
            ("another's", foreign),
        ] {
            fs::write(&path, bytes).expect("writable");
            assert!(cache.load(&engine, &key(&engine, &wasm(1))).is_none(), "{what}");
            assert_eq!(answer(&engine, &cache.module(&engine, &wasm(1)).expect("compiles")), 1);
            assert_eq!(fs::read(&path).expect("kept").len(), whole.len(), "{what}: replaced");
        }
        assert_eq!(folder.names().len(), 2, "nothing is left over");
    }

    #[test]
    fn what_others_may_write_is_not_believed() {
        let (folder, engine) = (Folder::new("others"), Engine::default());
        let cache = folder.cache();
        let key = key(&engine, &wasm(3));
        cache.module(&engine, &wasm(3)).expect("compiles");
        let mode = |path: &PathBuf, mode: u32| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own");
        };
        for (path, ours) in [(folder.0.clone(), 0o700), (cache.path(&key), 0o600)] {
            for open in [0o020, 0o002] {
                mode(&path, ours | open);
                assert!(cache.load(&engine, &key).is_none(), "{}", path.display());
            }
            mode(&path, ours);
            assert!(cache.load(&engine, &key).is_some());
        }
    }

    #[test]
    fn a_folder_that_cannot_be_is_no_error() {
        let (folder, engine) = (Folder::new("file"), Engine::default());
        fs::write(&folder.0, b"a file where the folder should be").expect("writable");
        let cache = Cache::new(folder.0.join("below"));
        assert_eq!(answer(&engine, &cache.module(&engine, &wasm(4)).expect("compiles")), 4);
        fs::remove_file(&folder.0).expect("our own");
    }

    #[test]
    fn the_longest_unused_go_first() {
        let (folder, engine) = (Folder::new("bound"), Engine::default());
        let mut cache = folder.cache();
        let path = |n: u8| folder.cache().path(&key(&engine, &wasm(n)));
        for n in 0..4 {
            cache.module(&engine, &wasm(n)).expect("compiles");
            let age = Duration::from_secs(1000 - u64::from(n));
            let file = fs::File::options().append(true).open(path(n)).expect("kept");
            file.set_modified(SystemTime::now() - age).expect("our own");
        }
        // The oldest is used again, and a dead process has left a part.
        assert!(cache.load(&engine, &key(&engine, &wasm(0))).is_some());
        let part = fs::File::create(folder.0.join("1-1.part")).expect("writable");
        part.set_modified(SystemTime::now() - 2 * super::PART_AGE_MAX).expect("our own");
        let size = fs::metadata(path(0)).expect("kept").len();
        cache.bytes_max = 3 * size + size / 2;
        cache.module(&engine, &wasm(4)).expect("compiles");
        let kept: Vec<u8> = (0..5).filter(|n| path(*n).exists()).collect();
        assert_eq!(kept, [0, 3, 4]);
        assert_eq!(folder.names().len(), 3, "{:?}", folder.names());
        cache.bytes_max = size / 2;
        assert_eq!(answer(&engine, &cache.module(&engine, &wasm(5)).expect("compiles")), 5);
        assert!(!path(5).exists(), "what is larger than all room is not kept");
    }

    #[test]
    fn threads_that_keep_the_same_modules_do_not_disturb_each_other() {
        let (folder, engine) = (Folder::new("threads"), Engine::default());
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..20 {
                        let n = round % 3;
                        let module = folder.cache().module(&engine, &wasm(n)).expect("compiles");
                        assert_eq!(answer(&engine, &module), i32::from(n));
                        if round % 5 == 4 {
                            let _gone =
                                fs::remove_file(folder.cache().path(&key(&engine, &wasm(n))));
                        }
                    }
                });
            }
        });
        assert!(folder.names().iter().all(|name| name.ends_with(".cwasm")), "{:?}", folder.names());
    }
}
