//! Entries of a folder.
//!
//! An entry is a file named by its key. It holds
//!
//! ```text
//! magic | hash of key and content | content
//! ```
//!
//! so that an entry that is cut, damaged, or another's under this name is not believed. An entry appears
//! whole, by renaming.
//!
//! Code that is read is code that runs. So entries are taken only from a folder and a file that belong
//! to the user of this process and that nobody else may write.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use crate::files::{create_file, create_folder, read_own};
use crate::key::Key;

/// What entries begin with; another layout has another.
const MAGIC: &[u8; 8] = b"xoverch2";

/// Bytes of magic and hash.
const HEAD_BYTES: usize = MAGIC.len() + blake3::OUT_LEN;

/// How entries are called until they are whole, and when such a file is left over from a process that
/// has died.
const PART: &str = "part";
const PART_AGE_MAX: Duration = Duration::from_secs(3600);

/// Bytes of all entries of a kind; those that were not used for longest go first. A kernel takes some tens
/// of thousands.
const BYTES_MAX: u64 = 64 << 20;

/// The entries of one kind in a folder.
#[derive(Clone, Debug)]
pub struct Cache {
    folder: PathBuf,
    kind: &'static str,
    bytes_max: u64,
}

impl Cache {
    /// Nothing is touched until an entry is asked for. The kind is how its files end.
    pub fn new(folder: PathBuf, kind: &'static str) -> Cache {
        Cache { folder, kind, bytes_max: BYTES_MAX }
    }

    /// The same with room for no more bytes than this.
    pub fn with_room(self, bytes_max: u64) -> Cache {
        Cache { bytes_max, ..self }
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The file of an entry.
    pub fn path(&self, key: &Key) -> PathBuf {
        self.folder.join(format!("{key}.{}", self.kind))
    }

    /// What is kept under a key, as [`Cache::store`] got it from a process of this user.
    pub fn load(&self, key: &Key) -> Option<Vec<u8>> {
        let (file, mut entry) = read_own(&self.path(key), self.bytes_max)?;
        let content = (entry.len() >= HEAD_BYTES).then(|| entry.split_off(HEAD_BYTES))?;
        if entry != head(key, &content) {
            return None;
        }
        // Used just now. Where that cannot be noted, the entry only goes sooner.
        let _noted = file.set_modified(SystemTime::now());
        Some(content)
    }

    /// Keeps something, if it can. What cannot be kept is made again next time.
    pub fn store(&self, key: &Key, content: &[u8]) {
        if let Err(error) = self.write(key, content) {
            tracing::debug!(folder = %self.folder.display(), %error, "an entry is not kept");
        }
    }

    fn write(&self, key: &Key, content: &[u8]) -> io::Result<()> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        if (HEAD_BYTES + content.len()) as u64 > self.bytes_max {
            return Ok(());
        }
        create_folder(&self.folder)?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let part = self.folder.join(format!("{}-{number}.{PART}", std::process::id()));
        let written = create_file(&part).and_then(|mut file| {
            file.write_all(&head(key, content))?;
            file.write_all(content)?;
            fs::rename(&part, self.path(key))
        });
        if written.is_err() {
            // What is left over goes later, if not now.
            let _removed = fs::remove_file(&part);
        }
        written?;
        self.shrink()
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
                Some(kind) if kind == self.kind => entries.push((used, about.len(), path)),
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

/// What an entry begins with.
fn head(key: &Key, content: &[u8]) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..MAGIC.len()].copy_from_slice(MAGIC);
    head[MAGIC.len()..].copy_from_slice(&key.seal(content));
    head
}

#[cfg(test)]
pub(crate) mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::path::PathBuf;
    use std::time::{Duration, SystemTime};

    use super::{Cache, HEAD_BYTES};
    use crate::key::Key;

    /// A folder of a test's own, removed at its end.
    pub(crate) struct Folder(pub(crate) PathBuf);

    impl Folder {
        pub(crate) fn new(name: &str) -> Folder {
            let name = format!("crossover-cache-{name}-{}", std::process::id());
            Folder(std::env::temp_dir().join(name))
        }

        pub(crate) fn cache(&self) -> Cache {
            Cache::new(self.0.clone(), "code")
        }

        pub(crate) fn names(&self) -> Vec<String> {
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

    fn key(n: u8) -> Key {
        Key::of(|hasher| hasher.part(&[n]))
    }

    fn content(n: u8) -> Vec<u8> {
        (0..100).map(|at| at ^ n).collect()
    }

    #[test]
    fn what_was_kept_is_found_again() {
        let folder = Folder::new("again");
        assert!(folder.cache().load(&key(7)).is_none());
        folder.cache().store(&key(7), &content(7));
        assert_eq!(folder.cache().load(&key(7)), Some(content(7)));
        assert!(folder.cache().load(&key(8)).is_none(), "another");
        assert!(Cache::new(folder.0.clone(), "other").load(&key(7)).is_none(), "another kind");
        folder.cache().store(&key(7), &content(9));
        assert_eq!(folder.cache().load(&key(7)), Some(content(9)), "replaced");
    }

    #[test]
    fn an_entry_that_is_cut_damaged_or_anothers_is_not_believed() {
        let folder = Folder::new("damaged");
        let cache = folder.cache();
        let path = cache.path(&key(1));
        cache.store(&key(1), &content(1));
        cache.store(&key(2), &content(2));
        let whole = fs::read(&path).expect("kept");
        let foreign = fs::read(cache.path(&key(2))).expect("kept");
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
            assert!(cache.load(&key(1)).is_none(), "{what}");
            cache.store(&key(1), &content(1));
            assert_eq!(cache.load(&key(1)), Some(content(1)), "{what}: replaced");
        }
        assert_eq!(folder.names().len(), 2, "nothing is left over");
    }

    #[test]
    fn what_others_may_write_is_not_believed() {
        let folder = Folder::new("others");
        let cache = folder.cache();
        cache.store(&key(3), &content(3));
        let mode = |path: &PathBuf, mode: u32| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("our own");
        };
        for (path, ours) in [(folder.0.clone(), 0o700), (cache.path(&key(3)), 0o600)] {
            for open in [0o020, 0o002] {
                mode(&path, ours | open);
                assert!(cache.load(&key(3)).is_none(), "{}", path.display());
            }
            mode(&path, ours);
            assert!(cache.load(&key(3)).is_some());
        }
    }

    #[test]
    fn a_folder_that_cannot_be_keeps_nothing() {
        let folder = Folder::new("file");
        fs::write(&folder.0, b"a file where the folder should be").expect("writable");
        let cache = Cache::new(folder.0.join("below"), "code");
        cache.store(&key(4), &content(4));
        assert!(cache.load(&key(4)).is_none());
        fs::remove_file(&folder.0).expect("our own");
    }

    #[test]
    fn the_longest_unused_go_first() {
        let folder = Folder::new("bound");
        let path = |n: u8| folder.cache().path(&key(n));
        for n in 0..4 {
            folder.cache().store(&key(n), &content(n));
            let age = Duration::from_secs(1000 - u64::from(n));
            let file = fs::File::options().append(true).open(path(n)).expect("kept");
            file.set_modified(SystemTime::now() - age).expect("our own");
        }
        // The oldest is used again, and a dead process has left a part.
        assert!(folder.cache().load(&key(0)).is_some());
        let part = fs::File::create(folder.0.join("1-1.part")).expect("writable");
        part.set_modified(SystemTime::now() - 2 * super::PART_AGE_MAX).expect("our own");
        let size = fs::metadata(path(0)).expect("kept").len();
        folder.cache().with_room(3 * size + size / 2).store(&key(4), &content(4));
        let kept: Vec<u8> = (0..5).filter(|n| path(*n).exists()).collect();
        assert_eq!(kept, [0, 3, 4]);
        assert_eq!(folder.names().len(), 3, "{:?}", folder.names());
        folder.cache().with_room(size / 2).store(&key(5), &content(5));
        assert!(!path(5).exists(), "what is larger than all room is not kept");
    }

    #[test]
    fn threads_that_keep_the_same_do_not_disturb_each_other() {
        let folder = Folder::new("threads");
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..20 {
                        let n = round % 3;
                        if let Some(found) = folder.cache().load(&key(n)) {
                            assert_eq!(found, content(n));
                        }
                        folder.cache().store(&key(n), &content(n));
                        if round % 5 == 4 {
                            let _gone = fs::remove_file(folder.cache().path(&key(n)));
                        }
                    }
                });
            }
        });
        assert!(folder.names().iter().all(|name| name.ends_with(".code")), "{:?}", folder.names());
    }
}
