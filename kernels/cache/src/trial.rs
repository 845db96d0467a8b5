//! What a process has died of.
//!
//! A driver can crash on a pipeline and take the process with it. So a process notes what it is about to try
//! before it does, in a file `KEY.trial` of 16 bytes for each that tries, and takes the note back when it has
//! gone well. A note whose process is dead tells of a crash. It may as well have been killed just then, so
//! two are needed.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

use rustix::process::{Pid, test_kill_process};

use crate::entries::Cache;
use crate::files::{append_file, create_folder, read_own};
use crate::key::Key;

/// How many processes must have died of the same before it is not tried again.
const CRASHES_MAX: usize = 2;

/// Bytes of a note: the process, and what tells it from an earlier one of the same number.
const NOTE_BYTES: usize = 16;
/// No file has more than this, whatever happens.
const NOTES_BYTES_MAX: u64 = 1 << 16;

/// Processes have died of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Crashes {
    /// How many.
    pub count: usize,
    /// The file that says so; without it, it is tried again.
    pub file: PathBuf,
}

/// Something that may crash, under way. Dropping it says that it did not.
#[derive(Debug)]
#[must_use = "a trial that is dropped at once guards nothing"]
pub struct Trial {
    file: PathBuf,
}

impl Cache {
    /// Notes that something is tried. `None` where that cannot be noted.
    ///
    /// # Errors
    /// [`Crashes`] where it is better not tried again.
    pub fn begin_trial(&self, key: &Key) -> Result<Option<Trial>, Crashes> {
        let file = self.folder().join(format!("{key}.trial"));
        let count = read_own(&file, NOTES_BYTES_MAX).map_or(0, |(_, notes)| dead(&notes));
        if count >= CRASHES_MAX {
            return Err(Crashes { count, file });
        }
        match self.note(&file) {
            Ok(()) => Ok(Some(Trial { file })),
            Err(error) => {
                tracing::debug!(file = %file.display(), %error, "a trial is not noted");
                Ok(None)
            }
        }
    }

    fn note(&self, file: &Path) -> io::Result<()> {
        create_folder(self.folder())?;
        let note = [u64::from(std::process::id()).to_le_bytes(), started().to_le_bytes()];
        append_file(file)?.write_all(note.as_flattened())
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        // What has gone well once is forgiven whatever it was blamed for, and one who tries it at the same
        // time loses a note at worst.
        let _removed = fs::remove_file(&self.file);
    }
}

/// How many of the notes are of processes that are no more.
fn dead(notes: &[u8]) -> usize {
    let word = |bytes: &[u8]| bytes.first_chunk().map_or(0, |word| u64::from_le_bytes(*word));
    let notes = notes.chunks_exact(NOTE_BYTES);
    notes.filter(|note| !is_alive(word(note), word(&note[8..]))).count()
}

fn is_alive(process: u64, since: u64) -> bool {
    if process == u64::from(std::process::id()) {
        return since == started();
    }
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    pid.is_some_and(|pid| test_kill_process(pid) != Err(rustix::io::Errno::SRCH))
}

/// Tells this process from an earlier one of the same number.
fn started() -> u64 {
    static STARTED: OnceLock<u64> = OnceLock::new();
    *STARTED.get_or_init(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        since.map_or(0, |since| since.as_nanos() as u64)
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::{Crashes, Trial};
    use crate::entries::tests::Folder;
    use crate::key::Key;

    fn key(n: u8) -> Key {
        Key::of(|hasher| hasher.part(&[n]))
    }

    /// Leaves a note of a process that is no more.
    fn crash(folder: &Folder, key: &Key) {
        let trial = folder.cache().begin_trial(key).expect("is tried").expect("is noted");
        let file = trial.file.clone();
        std::mem::forget(trial);
        let mut notes = fs::read(&file).expect("noted");
        let at = notes.len() - 16;
        // No process has this number.
        notes[at..at + 8].copy_from_slice(&u64::from(u32::MAX).to_le_bytes());
        fs::write(&file, notes).expect("writable");
    }

    #[test]
    fn what_two_processes_have_died_of_is_not_tried_again() {
        let folder = Folder::new("crashes");
        crash(&folder, &key(1));
        crash(&folder, &key(1));
        let Err(Crashes { count, file }) = folder.cache().begin_trial(&key(1)) else {
            panic!("is not tried");
        };
        assert_eq!(count, 2);
        assert!(folder.cache().begin_trial(&key(2)).is_ok(), "another");
        fs::remove_file(file).expect("the file that it names");
        assert!(folder.cache().begin_trial(&key(1)).is_ok(), "once more");
    }

    #[test]
    fn what_goes_well_is_forgiven() {
        let folder = Folder::new("forgiven");
        for _ in 0..3 {
            crash(&folder, &key(1));
            drop(folder.cache().begin_trial(&key(1)).expect("one crash is no proof"));
        }
        assert!(folder.names().is_empty(), "{:?}", folder.names());
    }

    #[test]
    fn those_who_are_at_it_have_not_died() {
        let folder = Folder::new("alive");
        let trials: Vec<Option<Trial>> =
            (0..5).map(|_| folder.cache().begin_trial(&key(1)).expect("nobody died")).collect();
        assert!(trials.iter().all(Option::is_some));
    }

    #[test]
    fn without_a_folder_nothing_is_noted() {
        let folder = Folder::new("nowhere");
        fs::write(&folder.0, b"a file where the folder should be").expect("writable");
        assert!(folder.cache().begin_trial(&key(1)).expect("is tried").is_none());
        fs::remove_file(&folder.0).expect("our own");
    }
}
