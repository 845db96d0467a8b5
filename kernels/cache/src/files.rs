//! Files that only this user can write.

use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Whether a file or folder is this user's, and nobody else may write it.
pub(crate) fn is_own(about: &Metadata) -> bool {
    about.uid() == rustix::process::geteuid().as_raw() && about.mode() & 0o022 == 0
}

/// A file's content, if the file and its folder are our own, and it has no more bytes than this.
pub(crate) fn read_own(path: &Path, bytes_max: u64) -> Option<(File, Vec<u8>)> {
    if !is_own(&fs::metadata(path.parent()?).ok()?) {
        return None;
    }
    let mut file = File::open(path).ok()?;
    let about = file.metadata().ok()?;
    if !about.is_file() || !is_own(&about) || about.len() > bytes_max {
        return None;
    }
    let mut content = Vec::new();
    file.read_to_end(&mut content).ok()?;
    Some((file, content))
}

pub(crate) fn create_folder(folder: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

pub(crate) fn create_file(path: &Path) -> io::Result<File> {
    File::options().write(true).create_new(true).mode(0o600).open(path)
}

/// A file to add to.
pub(crate) fn append_file(path: &Path) -> io::Result<File> {
    File::options().append(true).create(true).mode(0o600).open(path)
}
