//! A snapshot that an earlier build left is read by this one.

use std::fs;

use scorer::core::StateRecord;
use scorer::snapshot::{SnapshotFile, Stamp};

/// What the committed files hold, which the builds of those days wrote: the first one without a time.
const UNTIMED: &[u8] = include_bytes!("snapshot/partition-3.snapshot");
const WRITTEN: &[u8] = include_bytes!("snapshot/partition-3-timed.snapshot");

const STAMP: Stamp = Stamp { birth: 1_700_000_000_123, sequence: 42, offset: 98_765, time: Some(1_700_000_456_789) };

fn records() -> Vec<StateRecord> {
    let records: [(&[u8], &[u8]); 3] =
        [(b"e536365", &[1, 0, 255, 128, 7]), (b"c\0\0\0\0\0\0\0\x05", b""), (b"h", b"head")];
    records.map(|(key, value)| StateRecord { key: key.to_vec(), value: Some(value.to_vec()) }).into()
}

#[test]
fn a_snapshot_of_an_earlier_build_is_read() {
    for (file, expected) in [(UNTIMED, Stamp { time: None, ..STAMP }), (WRITTEN, STAMP)] {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("partition-3.snapshot"), file).unwrap();
        let mut found = Vec::new();
        let stamp = SnapshotFile::new(folder.path(), 3).read(|key, value| {
            found.push(StateRecord { key: key.to_vec(), value: Some(value.to_vec()) });
            true
        });
        assert_eq!((stamp, found), (Some(expected), records()));
    }
}

#[test]
fn this_build_writes_the_same_bytes() {
    let folder = tempfile::tempdir().unwrap();
    let mut file = SnapshotFile::new(folder.path(), 3).begin().unwrap();
    records().iter().for_each(|record| file.put(record).unwrap());
    file.finish(STAMP).unwrap();
    assert!(fs::read(folder.path().join("partition-3.snapshot")).unwrap() == WRITTEN);
}
