//! Measured rows, and the file that keeps them.
//!
//! The file is JSON lines, append-only. The first line is the header with the versions of the
//! layout and of the feature table; every further line is a [`Row`]. A last line that was cut off
//! (the process died while writing) is dropped on loading and removed by the next append.

use crate::baseline::roofline_log2_seconds;
use crate::error::Error;
use crate::features::{Features, VERSION};
use crate::layout::Layouts;
use crate::rng::{Rng, hash_bytes};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

/// The layout of the file.
pub const LAYOUT: u32 = 2;

/// How many optimisation speed-ups a row has room for.
pub const SPEEDUPS: usize = 7;

/// The optimisations whose speed-ups those are, in their order there.
pub const OPTIMISATIONS: [&str; SPEEDUPS] =
    ["inline", "unroll", "simd", "fold", "tail", "cse", "strength"];

/// One measured call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// The kernel's name. Rows of one kernel are never split between training and test.
    pub kernel: String,
    /// Kernels that resemble each other (a suite, a generator): the coarser split.
    pub family: String,
    /// Items of the call.
    pub n: u64,
    /// What was known of the call before it ran.
    pub features: Features,
    /// The measured kernel time a side, in seconds; `None` where it was not run.
    pub seconds: [Option<f64>; 2],
    /// Time without an optimisation over time with it, for each of [`OPTIMISATIONS`]; `None` where
    /// not measured.
    #[serde(default)]
    pub speedups: [Option<f64>; SPEEDUPS],
    /// What compiling for the CPU took, where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compiled: Option<Compiled>,
    /// What layouts of the CPU's code have taken, where that was measured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub layouts: Option<Layouts>,
}

/// What compiling a kernel for the CPU took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Compiled {
    /// Values of the kernel's code: as written, and with all optimisations.
    pub values: [f64; 2],
    /// Bytes of the module, with all optimisations.
    pub bytes: f64,
    /// Seconds of each of [`OPTIMISATIONS`] itself, among all of them; 0 for one that is no pass.
    pub passes_s: [f64; SPEEDUPS],
    /// Seconds of making machine code, with all optimisations.
    pub code_s: f64,
    /// The same without each of [`OPTIMISATIONS`]; `None` where the code is the same without it.
    pub code_without_s: [Option<f64>; SPEEDUPS],
}

impl Row {
    /// A row without speed-ups.
    ///
    /// ```
    /// use crossover_ml::{Features, Row};
    /// let row = Row::new("saxpy", "stream", 4096, Features::missing(), [Some(1e-5), None]);
    /// assert_eq!((row.bucket(), row.is_measured()), (12, true));
    /// ```
    #[must_use]
    pub fn new(
        kernel: impl Into<String>,
        family: impl Into<String>,
        n: u64,
        features: Features,
        seconds: [Option<f64>; 2],
    ) -> Row {
        let (kernel, family) = (kernel.into(), family.into());
        let speedups = [None; SPEEDUPS];
        let (compiled, layouts) = (None, None);
        Row { kernel, family, n, features, seconds, speedups, compiled, layouts }
    }

    /// The measured times, in log2 seconds.
    ///
    /// ```
    /// # use crossover_ml::{Features, Row};
    /// let row = Row::new("saxpy", "stream", 1, Features::missing(), [Some(0.25), None]);
    /// assert_eq!(row.log2_seconds(), [Some(-2.0), None]);
    /// ```
    #[must_use]
    pub fn log2_seconds(&self) -> [Option<f64>; 2] {
        self.seconds.map(|seconds| seconds.map(f64::log2))
    }

    /// The whole part of log2 of the items.
    ///
    /// ```
    /// # use crossover_ml::{Features, Row};
    /// let bucket = |n| Row::new("saxpy", "stream", n, Features::missing(), [None; 2]).bucket();
    /// assert_eq!([bucket(0), bucket(1023), bucket(1024)], [0, 9, 10]);
    /// ```
    #[must_use]
    pub fn bucket(&self) -> u32 {
        self.n.max(1).ilog2()
    }

    /// log2(measured / roofline) a side, with `fallback` (log2 seconds) for a missing roofline.
    ///
    /// ```
    /// # use crossover_ml::{Feature, Features, Row};
    /// let mut call = Features::missing();
    /// call.set(Feature::CpuTimeS, 0.5);
    /// let row = Row::new("saxpy", "stream", 1, call, [Some(2.0), None]);
    /// assert_eq!(row.residuals([0.0; 2]), [Some(2.0), None], "four times the roofline");
    /// ```
    #[must_use]
    pub fn residuals(&self, fallback: [f64; 2]) -> [Option<f64>; 2] {
        let base = roofline_log2_seconds(&self.features, fallback);
        let measured = self.log2_seconds();
        [0, 1].map(|i| measured[i].map(|log2| log2 - base[i]))
    }

    /// Whether at least one side was measured.
    ///
    /// ```
    /// # use crossover_ml::{Features, Row};
    /// assert!(!Row::new("saxpy", "stream", 1, Features::missing(), [None; 2]).is_measured());
    /// ```
    #[must_use]
    pub fn is_measured(&self) -> bool {
        self.seconds.iter().any(Option::is_some)
    }

    /// Checks that every measured number is finite and above zero.
    ///
    /// # Errors
    /// [`Error::InvalidRow`] that names the field.
    ///
    /// ```
    /// # use crossover_ml::{Features, Row};
    /// let row = |s| Row::new("saxpy", "stream", 1, Features::missing(), [Some(s), None]);
    /// assert!(row(1e-5).validate().is_ok() && row(-1.0).validate().is_err());
    /// ```
    pub fn validate(&self) -> Result<(), Error> {
        let wrong = |x: &Option<f64>| x.is_some_and(|x| !x.is_finite() || x <= 0.0);
        let field = if self.seconds.iter().any(wrong) {
            "seconds"
        } else if self.speedups.iter().any(wrong) {
            "speedups"
        } else if self.compiled.as_ref().is_some_and(|compiled| !compiled.is_possible()) {
            "compiled"
        } else if self.layouts.as_ref().is_some_and(|layouts| !layouts.is_possible()) {
            "layouts"
        } else {
            return Ok(());
        };
        Err(Error::InvalidRow { kernel: self.kernel.clone(), field })
    }
}

impl Compiled {
    /// Whether every number can have been measured.
    fn is_possible(&self) -> bool {
        let above = |x: &f64| x.is_finite() && *x > 0.0;
        let without = self.code_without_s.iter().flatten();
        self.values.iter().chain([&self.bytes, &self.code_s]).chain(without).all(above)
            && self.passes_s.iter().all(|s| s.is_finite() && *s >= 0.0)
    }
}

/// The first line of the file.
#[derive(Serialize, Deserialize)]
struct Header {
    crossover_dataset: u32,
    features_version: u32,
}

/// Measured rows, in the order in which they were measured.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Dataset {
    rows: Vec<Row>,
}

impl Dataset {
    /// No rows.
    ///
    /// ```
    /// assert_eq!(crossover_ml::Dataset::new().len(), 0);
    /// ```
    #[must_use]
    pub fn new() -> Dataset {
        Dataset::default()
    }

    /// A data set of these rows.
    ///
    /// # Errors
    /// [`Error::InvalidRow`] for the first row that cannot have been measured.
    ///
    /// ```
    /// # use crossover_ml::{Dataset, Features, Row};
    /// let row = |s| Row::new("saxpy", "stream", 1, Features::missing(), [Some(s), None]);
    /// assert_eq!(Dataset::from_rows(vec![row(1.0), row(2.0)])?.len(), 2);
    /// assert!(Dataset::from_rows(vec![row(f64::NAN)]).is_err());
    /// # Ok::<(), crossover_ml::Error>(())
    /// ```
    pub fn from_rows(rows: Vec<Row>) -> Result<Dataset, Error> {
        rows.iter().try_for_each(Row::validate)?;
        Ok(Dataset { rows })
    }

    /// The rows.
    ///
    /// ```
    /// # use crossover_ml::{Dataset, Features, Row};
    /// let row = Row::new("saxpy", "stream", 1, Features::missing(), [Some(1.0), None]);
    /// assert_eq!(Dataset::from_rows(vec![row.clone()])?.rows(), [row]);
    /// # Ok::<(), crossover_ml::Error>(())
    /// ```
    #[must_use]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// How many rows there are.
    ///
    /// ```
    /// # use crossover_ml::{Dataset, Features, Row};
    /// # let row = Row::new("saxpy", "stream", 1, Features::missing(), [Some(1.0), None]);
    /// assert_eq!(Dataset::from_rows(vec![row; 3])?.len(), 3);
    /// # Ok::<(), crossover_ml::Error>(())
    /// ```
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether there are no rows.
    ///
    /// ```
    /// assert!(crossover_ml::Dataset::new().is_empty());
    /// ```
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds a row.
    ///
    /// # Errors
    /// [`Error::InvalidRow`] if it cannot have been measured.
    ///
    /// ```
    /// # use crossover_ml::{Dataset, Features, Row};
    /// let mut data = Dataset::new();
    /// data.push(Row::new("saxpy", "stream", 1, Features::missing(), [Some(1.0), None]))?;
    /// assert_eq!(data.len(), 1);
    /// # Ok::<(), crossover_ml::Error>(())
    /// ```
    pub fn push(&mut self, row: Row) -> Result<(), Error> {
        row.validate()?;
        self.rows.push(row);
        Ok(())
    }

    /// Adds the rows of `other` that are not already here.
    ///
    /// ```
    /// # use crossover_ml::{Dataset, Features, Row};
    /// let row = |s| Row::new("saxpy", "stream", 1, Features::missing(), [Some(s), None]);
    /// let mut data = Dataset::from_rows(vec![row(1.0), row(2.0)])?;
    /// data.merge(&Dataset::from_rows(vec![row(2.0), row(3.0)])?);
    /// assert_eq!(data.len(), 3);
    /// # Ok::<(), crossover_ml::Error>(())
    /// ```
    pub fn merge(&mut self, other: &Dataset) {
        let mut known: BTreeSet<u64> = self.rows.iter().map(row_hash).collect();
        self.rows.extend(other.rows.iter().filter(|row| known.insert(row_hash(row))).cloned());
    }

    /// Reads a file.
    ///
    /// # Errors
    /// A file that cannot be read, is of another version, or is damaged anywhere but in a cut-off
    /// last line.
    ///
    /// ```
    /// # use crossover_ml::{Dataset, Features, Row};
    /// # let path = std::env::temp_dir().join(format!("crossover-load-{}", std::process::id()));
    /// let row = Row::new("saxpy", "stream", 1, Features::missing(), [Some(1.0), None]);
    /// Dataset::append(&path, &[row.clone()])?;
    /// assert_eq!(Dataset::load(&path)?.rows(), [row]);
    /// # std::fs::remove_file(path).expect("our own file");
    /// # Ok::<(), crossover_ml::Error>(())
    /// ```
    pub fn load(path: &Path) -> Result<Dataset, Error> {
        let bytes = std::fs::read(path).map_err(|source| io(path, source))?;
        Dataset::parse(&bytes)
    }

    /// Reads the bytes of a file.
    ///
    /// # Errors
    /// As [`Dataset::load`].
    ///
    /// ```
    /// use crossover_ml::Dataset;
    /// assert!(Dataset::parse(b"name,seconds\n").is_err(), "this is another kind of file");
    /// ```
    pub fn parse(bytes: &[u8]) -> Result<Dataset, Error> {
        let whole = bytes.iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
        let mut lines = bytes[..whole].split(|&b| b == b'\n').enumerate();
        check_header(lines.next().map_or(&[][..], |(_, line)| line))?;
        let mut rows = Vec::new();
        for (at, line) in lines.filter(|(_, line)| !line.is_empty()) {
            let row: Row = serde_json::from_slice(line)
                .map_err(|source| Error::CorruptLine { line: at + 1, source })?;
            row.validate()?;
            rows.push(row);
        }
        Ok(Dataset { rows })
    }

    /// Appends rows to a file, which is created if it does not exist.
    ///
    /// # Errors
    /// A row that cannot have been measured, a file of another version, or one that cannot be
    /// written. Nothing is written in the first two cases.
    ///
    /// ```
    /// # use crossover_ml::{Dataset, Features, Row};
    /// # let path = std::env::temp_dir().join(format!("crossover-add-{}", std::process::id()));
    /// let row = Row::new("saxpy", "stream", 1, Features::missing(), [Some(1.0), None]);
    /// for _ in 0..2 {
    ///     Dataset::append(&path, &[row.clone()])?;
    /// }
    /// assert_eq!(Dataset::load(&path)?.len(), 2);
    /// # std::fs::remove_file(path).expect("our own file");
    /// # Ok::<(), crossover_ml::Error>(())
    /// ```
    pub fn append(path: &Path, rows: &[Row]) -> Result<(), Error> {
        rows.iter().try_for_each(Row::validate)?;
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path);
        let mut file = file.map_err(|source| io(path, source))?;
        let mut text = Vec::new();
        let mut head = [0; 256];
        match read_start(&mut file, &mut head).map_err(|source| io(path, source))? {
            0 => {
                let header = Header { crossover_dataset: LAYOUT, features_version: VERSION };
                write_line(&mut text, &header);
            }
            read => {
                check_header(head[..read].split(|&b| b == b'\n').next().unwrap_or_default())?;
                drop_torn_line(&mut file).map_err(|source| io(path, source))?;
            }
        }
        rows.iter().for_each(|row| write_line(&mut text, row));
        file.seek(SeekFrom::End(0))
            .and_then(|_| file.write_all(&text))
            .map_err(|source| io(path, source))
    }

    /// The numbers of the rows of each kernel.
    ///
    /// ```
    /// # use crossover_ml::{Dataset, Features, Row};
    /// let row = |kernel| Row::new(kernel, "stream", 1, Features::missing(), [Some(1.0), None]);
    /// let data = Dataset::from_rows(vec![row("saxpy"), row("dot"), row("saxpy")])?;
    /// assert_eq!(data.by_kernel()["saxpy"], [0, 2]);
    /// # Ok::<(), crossover_ml::Error>(())
    /// ```
    #[must_use]
    pub fn by_kernel(&self) -> BTreeMap<&str, Vec<usize>> {
        self.group(|row| &row.kernel)
    }

    /// The numbers of the rows of each family.
    ///
    /// ```
    /// # use crossover_ml::{Dataset, Features, Row};
    /// let row = |family| Row::new("k", family, 1, Features::missing(), [Some(1.0), None]);
    /// let data = Dataset::from_rows(vec![row("stream"), row("stencil")])?;
    /// assert_eq!(data.by_family()["stencil"], [1]);
    /// # Ok::<(), crossover_ml::Error>(())
    /// ```
    #[must_use]
    pub fn by_family(&self) -> BTreeMap<&str, Vec<usize>> {
        self.group(|row| &row.family)
    }

    fn group<'a>(&'a self, name: impl Fn(&'a Row) -> &'a str) -> BTreeMap<&'a str, Vec<usize>> {
        let mut groups: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
        for (at, row) in self.rows.iter().enumerate() {
            groups.entry(name(row)).or_default().push(at);
        }
        groups
    }

    /// The rows of these numbers; numbers out of range are left out.
    ///
    /// ```
    /// # use crossover_ml::{Dataset, Features, Row};
    /// let row = |n| Row::new("saxpy", "stream", n, Features::missing(), [Some(1.0), None]);
    /// let data = Dataset::from_rows(vec![row(1), row(2), row(3)])?;
    /// assert_eq!(data.subset(&[2, 9]).rows(), [row(3)]);
    /// # Ok::<(), crossover_ml::Error>(())
    /// ```
    #[must_use]
    pub fn subset(&self, numbers: &[usize]) -> Dataset {
        Dataset { rows: numbers.iter().filter_map(|&at| self.rows.get(at)).cloned().collect() }
    }

    /// Splits by kernel into (training, held out): about `share` (0 … 1) of the kernels, drawn by
    /// `seed`, are held out with all their rows. With two kernels or more and a share above zero,
    /// both halves have at least one.
    ///
    /// ```
    /// # use crossover_ml::{Dataset, Features, Row};
    /// let row = |kernel| Row::new(kernel, "stream", 1, Features::missing(), [Some(1.0), None]);
    /// let data = Dataset::from_rows(["a", "a", "b", "b"].map(row).to_vec())?;
    /// let (training, held_out) = data.split_kernels(0.5, 7);
    /// assert_eq!((training.by_kernel().len(), held_out.by_kernel().len()), (1, 1));
    /// # Ok::<(), crossover_ml::Error>(())
    /// ```
    #[must_use]
    pub fn split_kernels(&self, share: f64, seed: u64) -> (Dataset, Dataset) {
        self.split(&self.by_kernel(), share, seed)
    }

    /// As [`Dataset::split_kernels`], by family.
    ///
    /// ```
    /// # use crossover_ml::{Dataset, Features, Row};
    /// let row = |family| Row::new("k", family, 1, Features::missing(), [Some(1.0), None]);
    /// let data = Dataset::from_rows(["a", "a", "b", "b"].map(row).to_vec())?;
    /// let (training, held_out) = data.split_families(0.5, 7);
    /// assert_ne!(training.rows()[0].family, held_out.rows()[0].family);
    /// # Ok::<(), crossover_ml::Error>(())
    /// ```
    #[must_use]
    pub fn split_families(&self, share: f64, seed: u64) -> (Dataset, Dataset) {
        self.split(&self.by_family(), share, seed)
    }

    /// Splits every kernel's rows by size into (the rest, so many of its largest).
    ///
    /// ```
    /// # use crossover_ml::{Dataset, Features, Row};
    /// let row = |n| Row::new("k", "f", n, Features::missing(), [Some(1.0), None]);
    /// let data = Dataset::from_rows([8, 1, 4, 2].map(row).to_vec())?;
    /// let (smaller, largest) = data.split_sizes(1);
    /// assert_eq!((smaller.len(), largest.rows()), (3, &[row(8)][..]));
    /// # Ok::<(), crossover_ml::Error>(())
    /// ```
    #[must_use]
    pub fn split_sizes(&self, largest: usize) -> (Dataset, Dataset) {
        let (mut smaller, mut larger) = (Vec::new(), Vec::new());
        for mut numbers in self.by_kernel().into_values() {
            numbers.sort_by_key(|&at| self.rows[at].n);
            let cut = numbers.len().saturating_sub(largest);
            smaller.extend_from_slice(&numbers[..cut]);
            larger.extend_from_slice(&numbers[cut..]);
        }
        (self.subset(&smaller), self.subset(&larger))
    }

    fn split(
        &self,
        groups: &BTreeMap<&str, Vec<usize>>,
        share: f64,
        seed: u64,
    ) -> (Dataset, Dataset) {
        let mut names: Vec<&&str> = groups.keys().collect();
        Rng::new(seed).shuffle(&mut names);
        let held_out = match (names.len(), share > 0.0) {
            (0 | 1, _) | (_, false) => 0,
            (count, true) => ((count as f64 * share).round() as usize).clamp(1, count - 1),
        };
        let take = |names: &[&&str]| {
            let mut numbers: Vec<usize> =
                names.iter().flat_map(|&name| groups[*name].clone()).collect();
            numbers.sort_unstable();
            self.subset(&numbers)
        };
        (take(&names[held_out..]), take(&names[..held_out]))
    }

    /// A hash of all rows, in hexadecimal: which data a model was trained on.
    ///
    /// ```
    /// # use crossover_ml::{Dataset, Features, Row};
    /// let row = |n| Row::new("k", "f", n, Features::missing(), [None; 2]);
    /// let hash = |n| Dataset::from_rows(vec![row(n)]).map(|data| data.hash());
    /// assert_eq!(hash(1)?, hash(1)?);
    /// assert_ne!(hash(1)?, hash(2)?);
    /// # Ok::<(), crossover_ml::Error>(())
    /// ```
    #[must_use]
    pub fn hash(&self) -> String {
        let hash =
            self.rows.iter().fold(0, |hash, row| hash_bytes(hash, &row_hash(row).to_le_bytes()));
        format!("{hash:016x}")
    }
}

fn row_hash(row: &Row) -> u64 {
    let mut text = Vec::new();
    write_line(&mut text, row);
    hash_bytes(0xcbf2_9ce4_8422_2325, &text)
}

fn check_header(line: &[u8]) -> Result<(), Error> {
    let header: Header = serde_json::from_slice(line).map_err(|_| Error::NotADataset)?;
    if header.crossover_dataset != LAYOUT {
        return Err(Error::DatasetVersion { found: header.crossover_dataset, expected: LAYOUT });
    }
    if header.features_version != VERSION {
        return Err(Error::FeatureVersion { found: header.features_version, expected: VERSION });
    }
    Ok(())
}

/// Removes the cut-off last line of a file of lines, and goes to the end; gives the bytes before.
///
/// # Errors
/// Those of the file.
///
/// ```
/// # use std::{fs::File, io::Read};
/// # let path = std::env::temp_dir().join(format!("crossover-torn-{}", std::process::id()));
/// std::fs::write(&path, "a whole line\nhalf a li")?;
/// let mut file = File::options().read(true).write(true).open(&path)?;
/// assert_eq!(crossover_ml::dataset::drop_torn_line(&mut file)?, 13);
/// assert_eq!(std::fs::read_to_string(&path)?, "a whole line\n");
/// # std::fs::remove_file(path)?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub fn drop_torn_line(file: &mut File) -> std::io::Result<u64> {
    let mut at = file.seek(SeekFrom::End(0))?;
    let mut byte = [0];
    while at > 0 {
        file.seek(SeekFrom::Start(at - 1))?;
        file.read_exact(&mut byte)?;
        if byte[0] == b'\n' {
            break;
        }
        at -= 1;
    }
    file.set_len(at)?;
    file.seek(SeekFrom::End(0))
}

fn read_start(file: &mut File, into: &mut [u8]) -> std::io::Result<usize> {
    file.seek(SeekFrom::Start(0))?;
    let mut filled = 0;
    while filled < into.len() {
        match file.read(&mut into[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

fn write_line(text: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(&mut *text, value)
        .expect("rows and headers are plain data, and memory does not refuse");
    text.push(b'\n');
}

fn io(path: &Path, source: std::io::Error) -> Error {
    Error::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::features::Feature;
    use std::path::PathBuf;

    fn row(kernel: &str, n: u64) -> Row {
        let mut features = Features::missing();
        features.set(Feature::Items, n as f64);
        Row::new(kernel, "family", n, features, [Some(1e-3), None])
    }

    fn scratch_file(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("crossover-ml-{}-{name}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        path
    }

    #[test]
    fn appended_rows_come_back_and_a_torn_line_does_not_hurt() {
        let path = scratch_file("torn.jsonl");
        Dataset::append(&path, &[row("a", 1)]).unwrap();
        let mut file = OpenOptions::new().append(true).open(&path).unwrap();
        file.write_all(br#"{"kernel":"b","fam"#).unwrap();
        assert_eq!(Dataset::load(&path).unwrap().rows(), [row("a", 1)]);
        Dataset::append(&path, &[row("c", 3)]).unwrap();
        assert_eq!(Dataset::load(&path).unwrap().rows(), [row("a", 1), row("c", 3)]);
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(Dataset::load(&path), Err(Error::Io { .. })));
    }

    #[test]
    fn other_versions_and_damage_are_told_apart() {
        let parse = |text: &str| Dataset::parse(text.as_bytes());
        assert!(matches!(parse(""), Err(Error::NotADataset)));
        assert!(matches!(parse("hello\n"), Err(Error::NotADataset)));
        let old = format!("{{\"crossover_dataset\":{LAYOUT},\"features_version\":0}}\n");
        assert!(matches!(parse(&old), Err(Error::FeatureVersion { found: 0, .. })));
        let new = "{\"crossover_dataset\":9,\"features_version\":1}\n";
        assert!(matches!(parse(new), Err(Error::DatasetVersion { found: 9, .. })));
        let damaged =
            format!("{{\"crossover_dataset\":{LAYOUT},\"features_version\":{VERSION}}}\n{{}}\n");
        assert!(matches!(parse(&damaged), Err(Error::CorruptLine { line: 2, .. })));
    }

    #[test]
    fn impossible_rows_are_refused() {
        for seconds in [0.0, -1.0, f64::NAN, f64::INFINITY] {
            let mut bad = row("a", 1);
            bad.seconds[1] = Some(seconds);
            assert!(matches!(
                Dataset::new().push(bad),
                Err(Error::InvalidRow { field: "seconds", .. })
            ));
        }
    }

    #[test]
    fn merging_twice_changes_nothing() {
        let mut data = Dataset::from_rows(vec![row("a", 1), row("b", 2)]).unwrap();
        let other = Dataset::from_rows(vec![row("b", 2), row("c", 3)]).unwrap();
        data.merge(&other);
        let hash = data.hash();
        data.merge(&other);
        assert_eq!(data.len(), 3);
        assert_eq!(data.hash(), hash);
    }

    #[test]
    fn splits_never_share_a_kernel() {
        let rows = (0..60).map(|i| row(&format!("k{}", i % 10), i)).collect();
        let data = Dataset::from_rows(rows).unwrap();
        for seed in 0..5 {
            let (train, test) = data.split_kernels(0.3, seed);
            assert_eq!((train.by_kernel().len(), test.by_kernel().len()), (7, 3));
            assert!(train.by_kernel().keys().all(|name| !test.by_kernel().contains_key(name)));
        }
        assert_eq!(data.split_families(0.3, 0).1.len(), 0);
    }
}
