//! Local snapshots of a partition's state, so that a restart need not read its whole changelog.
//!
//! A snapshot is a copy and never the truth: it says which change of the changelog it stands for, and one that is
//! missing, old, damaged or of another changelog costs time and nothing else.
//!
//! The file: a magic number and a version; the records, each with the lengths of key and value; a mark; then what it
//! stands for (see [`Stamp`]), and the CRC-32 of everything before. It is written beside its place and renamed.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crc32fast::Hasher;

use crate::core::StateRecord;
use crate::private;

const MAGIC: &[u8; 8] = b"atalaya2";

/// Files of earlier builds, whose stamps have no time.
const UNTIMED: &[u8; 8] = b"atalaya1";

const END: u32 = u32::MAX;
const STAMP_BYTES: usize = 4 * 8;

/// How old a snapshot may be where changes have come since. A changelog has to keep deletions for at least so long: an older
/// snapshot may hold what was deleted since.
pub const MAX_AGE: Duration = Duration::from_secs(12 * 60 * 60);

/// Which change of a changelog a snapshot stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// The changelog's life that it is of.
    pub birth: i64,
    /// The number of the change.
    pub sequence: u64,
    /// Where the changelog goes on after it.
    pub offset: i64,
    /// When it was committed, in milliseconds since 1970: it goes with the file wherever that is copied. Files of earlier
    /// builds do not say it.
    pub time: Option<i64>,
}

/// The snapshot of one partition.
#[derive(Debug, Clone)]
pub struct SnapshotFile {
    path: PathBuf,
}

/// A snapshot that is written and does not yet know what it stands for.
#[derive(Debug)]
pub struct Unstamped {
    file: BufWriter<File>,
    hasher: Hasher,
    temporary: PathBuf,
    path: PathBuf,
}

impl SnapshotFile {
    /// The snapshot of `partition` in `folder`.
    pub fn new(folder: &Path, partition: i32) -> Self {
        Self { path: folder.join(format!("partition-{partition}.snapshot")) }
    }

    /// Writes records beside the snapshot's place.
    ///
    /// # Errors
    /// Of the file system.
    pub fn begin(&self) -> io::Result<Unstamped> {
        let temporary = self.path.with_extension("writing");
        let file = BufWriter::with_capacity(1 << 20, private::writing().truncate(true).open(&temporary)?);
        let mut unstamped = Unstamped { file, hasher: Hasher::new(), temporary, path: self.path.clone() };
        unstamped.write(MAGIC)?;
        Ok(unstamped)
    }

    /// Hands every record to `take` and returns what the snapshot stands for; `None` when there is no usable one, in
    /// which case what was taken must not be used.
    pub fn read(&self, mut take: impl FnMut(&[u8], &[u8]) -> bool) -> Option<Stamp> {
        let file = File::open(&self.path).ok()?;
        let metadata = file.metadata().ok()?;
        // Read once, in order, and never held whole: a million open entities are more than a hundred megabytes.
        let mut source = Checked { file: BufReader::with_capacity(1 << 20, file), hasher: Hasher::new() };
        let mut record = Vec::new();
        source.read(MAGIC.len(), &mut record)?;
        let is_timed = record == MAGIC;
        if !is_timed && record != UNTIMED {
            return None;
        }
        loop {
            let key_length = source.read_u32()?;
            if key_length == END {
                return source.finish(is_timed);
            }
            let value_length = source.read_u32()?;
            let length = u64::from(key_length) + u64::from(value_length);
            if length > metadata.len() {
                return None;
            }
            source.read(length as usize, &mut record)?;
            let (key, value) = record.split_at(key_length as usize);
            if !take(key, value) {
                return None;
            }
        }
    }
}

/// A file that is read with its checksum.
struct Checked {
    file: BufReader<File>,
    hasher: Hasher,
}

impl Checked {
    fn read(&mut self, length: usize, into: &mut Vec<u8>) -> Option<()> {
        into.resize(length, 0);
        self.file.read_exact(into).ok()?;
        self.hasher.update(into);
        Some(())
    }

    fn read_u32(&mut self) -> Option<u32> {
        let mut bytes = [0; 4];
        self.file.read_exact(&mut bytes).ok()?;
        self.hasher.update(&bytes);
        Some(u32::from_le_bytes(bytes))
    }

    fn finish(mut self, is_timed: bool) -> Option<Stamp> {
        let mut stamp = Vec::new();
        self.read(if is_timed { STAMP_BYTES } else { STAMP_BYTES - 8 }, &mut stamp)?;
        let expected = self.hasher.clone().finalize();
        let is_whole = self.read_u32()? == expected && self.file.read(&mut [0]).ok()? == 0;
        is_whole.then(|| Stamp::decode(&stamp)).flatten()
    }
}

impl Stamp {
    /// Whether a time is further away from this than a snapshot may be old. One before it tells nothing of its age.
    pub fn is_stale_at(&self, time: i64) -> bool {
        let age = self.time.and_then(|since| u64::try_from(time.checked_sub(since)?).ok());
        age.is_none_or(|age| Duration::from_millis(age) > MAX_AGE)
    }

    fn encode(&self) -> [u8; STAMP_BYTES] {
        let (sequence, time) = (self.sequence.to_le_bytes(), self.time.unwrap_or(i64::MIN).to_le_bytes());
        let mut out = [0; STAMP_BYTES];
        for (place, bytes) in
            out.chunks_exact_mut(8).zip([self.birth.to_le_bytes(), sequence, self.offset.to_le_bytes(), time])
        {
            place.copy_from_slice(&bytes);
        }
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (birth, rest) = bytes.split_first_chunk()?;
        let (sequence, rest) = rest.split_first_chunk()?;
        let (offset, rest) = rest.split_first_chunk()?;
        let time = rest.first_chunk().map(|time| i64::from_le_bytes(*time));
        Some(Self {
            birth: i64::from_le_bytes(*birth),
            sequence: u64::from_le_bytes(*sequence),
            offset: i64::from_le_bytes(*offset),
            time: time.filter(|time| *time != i64::MIN),
        })
    }
}

impl Unstamped {
    /// Adds a record.
    ///
    /// # Errors
    /// Of the file system.
    pub fn put(&mut self, record: &StateRecord) -> io::Result<()> {
        let value = record.value.as_deref().unwrap_or_default();
        self.write(&(record.key.len() as u32).to_le_bytes())?;
        self.write(&(value.len() as u32).to_le_bytes())?;
        self.write(&record.key)?;
        self.write(value)
    }

    /// Puts the snapshot in its place.
    ///
    /// # Errors
    /// Of the file system.
    pub fn finish(mut self, stamp: Stamp) -> io::Result<()> {
        self.write(&END.to_le_bytes())?;
        self.write(&stamp.encode())?;
        let checksum = self.hasher.clone().finalize();
        self.file.write_all(&checksum.to_le_bytes())?;
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        fs::rename(&self.temporary, &self.path)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hasher.update(bytes);
        self.file.write_all(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: i64 = 1_700_000_000_000;

    const STAMP: Stamp = Stamp { birth: 7, sequence: 42, offset: 1_000, time: Some(TIME) };

    fn record(text: &str) -> StateRecord {
        StateRecord { key: text.as_bytes().to_vec(), value: Some(text.repeat(3).into_bytes()) }
    }

    fn written(folder: &Path) -> SnapshotFile {
        let file = SnapshotFile::new(folder, 3);
        let mut unstamped = file.begin().unwrap();
        unstamped.put(&record("a")).unwrap();
        unstamped.put(&record("bc")).unwrap();
        assert_eq!(file.read(|_, _| true), None, "not there before it is stamped");
        unstamped.finish(STAMP).unwrap();
        file
    }

    #[test]
    fn a_snapshot_gives_back_what_was_put_in() {
        let folder = tempfile::tempdir().unwrap();
        let mut taken = Vec::new();
        let stamp = written(folder.path()).read(|key, value| {
            taken.push(StateRecord { key: key.to_vec(), value: Some(value.to_vec()) });
            true
        });
        assert_eq!((stamp, taken), (Some(STAMP), vec![record("a"), record("bc")]));
    }

    #[test]
    fn its_age_is_told_by_the_times_of_commits() {
        let limit = MAX_AGE.as_millis() as i64;
        assert!(!STAMP.is_stale_at(TIME) && !STAMP.is_stale_at(TIME + limit));
        assert!(STAMP.is_stale_at(TIME + limit + 1), "deletions since may be gone");
        assert!(STAMP.is_stale_at(TIME - 1) && STAMP.is_stale_at(i64::MIN), "a clock that went back tells nothing");
        assert!(Stamp { time: None, ..STAMP }.is_stale_at(TIME), "an earlier build did not write its time");
    }

    #[test]
    fn any_damage_makes_it_useless_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let file = written(folder.path());
        let good = fs::read(&file.path).unwrap();
        for place in 0..good.len() {
            let mut bad = good.clone();
            bad[place] ^= 0x10;
            fs::write(&file.path, &bad).unwrap();
            assert_eq!(file.read(|_, _| true), None, "byte {place}");
            fs::write(&file.path, &good[..place]).unwrap();
            assert_eq!(file.read(|_, _| true), None, "cut at {place}");
        }
    }
}
