//! A snapshot that an earlier build left is read by this one.

use std::fs;

use scorer::core::StateRecord;
use scorer::snapshot::{SnapshotFile, Stamp};

/// What the committed file holds, which the build of that day wrote.
const WRITTEN: &[u8] = include_bytes!("snapshot/partition-3.snapshot");

const STAMP: Stamp = Stamp { birth: 1_700_000_000_123, sequence: 42, offset: 98_765 };

fn records() -> Vec<StateRecord> {
    let records: [(&[u8], &[u8]); 3] =
        [(b"e536365", &[1, 0, 255, 128, 7]), (b"c\0\0\0\0\0\0\0\x05", b""), (b"h", b"head")];
    records.map(|(key, value)| StateRecord { key: key.to_vec(), value: Some(value.to_vec()) }).into()
}

#[test]
fn a_snapshot_of_an_earlier_build_is_read() {
    let folder = tempfile::tempdir().unwrap();
    // A copy, because files of before half a day are not read.
    fs::write(folder.path().join("partition-3.snapshot"), WRITTEN).unwrap();
    let mut found = Vec::new();
    let stamp = SnapshotFile::new(folder.path(), 3).read(|key, value| {
        found.push(StateRecord { key: key.to_vec(), value: Some(value.to_vec()) });
        true
    });
    assert_eq!((stamp, found), (Some(STAMP), records()));
}

#[test]
fn this_build_writes_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = SnapshotFile::new(folder.path(), 3).begin().unwrap();
    records().iter().for_each(|record| file.put(record).unwrap());
    file.finish(STAMP).unwrap();
    assert!(fs::read(folder.path().join("partition-3.snapshot")).unwrap() == WRITTEN);
}
