use super::*;
use proptest::prelude::*;

fn stored(n_features: usize, rows: &[f32], max_bytes: Option<u64>) -> RowStore {
    let mut builder = RowStoreBuilder::new(n_features, max_bytes);
    builder.extend(rows).unwrap();
    builder.finish().unwrap()
}

fn blocks(store: &RowStore) -> Vec<Block> {
    let mut seen = Vec::new();
    let visit = |first_row, rows: &[f32]| {
        seen.push((first_row, rows.to_vec()));
        Ok::<_, io::Error>(())
    };
    store.for_each_block(visit).unwrap();
    seen
}

fn numbers(n_samples: usize, n_features: usize) -> Vec<f32> {
    (0..n_samples * n_features).map(|value| value as f32).collect()
}

#[test]
fn within_the_budget_rows_are_one_block_in_memory() {
    let values = numbers(10, 3);
    let store = stored(3, &values, Some(120));
    assert_eq!((store.n_samples(), store.n_features(), store.bytes(), store.memory()), (10, 3, 120, 120));
    assert_eq!((store.is_spilled(), store.as_slice()), (false, Some(&values[..])));
    assert_eq!(blocks(&store), [(0, values)]);
}

#[test]
fn beyond_the_budget_rows_are_blocks_of_a_multiple_of_4096() {
    let values = numbers(450_000, 3);
    let store = stored(3, &values, Some(5_399_999));
    assert!(store.is_spilled() && store.as_slice().is_none() && store.memory() < 13 << 20);
    let starts: Vec<usize> = blocks(&store).iter().map(|(first_row, _)| *first_row).collect();
    assert_eq!(starts, [0, 85 * 4096]);
    assert_eq!(blocks(&store).into_iter().flat_map(|(_, rows)| rows).collect::<Vec<_>>(), values);
}

#[test]
fn a_store_without_rows_has_no_block() {
    for budget in [None, Some(0)] {
        assert_eq!(blocks(&stored(2, &[], budget)), []);
    }
}

#[test]
fn memory_stays_within_the_budget_while_rows_come() {
    for budget in [0, 1000, 4 << 20] {
        let mut builder = RowStoreBuilder::new(5, Some(budget));
        for row in numbers(400_000, 5).chunks(5) {
            builder.push(row).unwrap();
            assert!(builder.memory() <= budget.max(WRITE_BYTES as u64));
        }
        assert!(builder.finish().unwrap().is_spilled());
    }
}

#[test]
fn an_error_of_the_visitor_ends_the_visit() {
    let store = RowStore { block_rows: 2, ..stored(1, &numbers(9, 1), Some(0)) };
    let mut seen = Vec::new();
    let result = store.for_each_block(|first_row, _| {
        seen.push(first_row);
        if first_row == 2 { Err(io::Error::other("enough")) } else { Ok(()) }
    });
    assert_eq!((result.unwrap_err().to_string().as_str(), seen), ("enough", vec![0, 2]));
}

#[test]
#[should_panic(expected = "the visitor's own")]
fn a_panic_of_the_visitor_is_passed_on() {
    let store = RowStore { block_rows: 2, ..stored(1, &numbers(9, 1), Some(0)) };
    let _ = store.for_each_block(|_, _| -> io::Result<()> { panic!("the visitor's own") });
}

#[test]
fn a_file_that_was_cut_is_an_error_that_names_the_row() {
    let store = RowStore { block_rows: 4, ..stored(2, &numbers(10, 2), Some(0)) };
    let Stored::File(file) = &store.rows else { panic!("in memory") };
    file.lock().unwrap().set_len(47).unwrap();
    let result = store.for_each_block(|_, _| Ok::<_, io::Error>(()));
    assert!(result.unwrap_err().to_string().starts_with("cannot read row 4 back from a temporary file in "));
    assert!(store.row(6, &mut [0.0; 2]).is_err() && store.row(1, &mut [0.0; 2]).is_ok());
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_an_error_that_says_what_where_and_how_much() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let mut writer = SpillWriter::new(full, "/spill".into());
    let error = writer.write(&numbers(300_000, 1)).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::StorageFull);
    let text = error.to_string();
    let wanted = "cannot write rows that do not fit in memory to a temporary file in /spill: No space left on device";
    assert!(text.starts_with(wanted), "{text}");
    assert!(text.contains("it had 0 bytes and needs at least 1200000: set TMPDIR"), "{text}");
}

proptest! {
    #[test]
    fn whatever_the_pushes_and_the_budget_the_rows_come_back(
        n_features in 1..7usize,
        pushes in proptest::collection::vec(0..40usize, 0..20),
        budget in proptest::option::of(0..6000u64),
        block_rows in 1..50usize,
    ) {
        let values = numbers(pushes.iter().sum(), n_features);
        // Bits that no arithmetic would leave as they are.
        let values: Vec<f32> = values.iter().map(|value| f32::from_bits(value.to_bits() ^ 0x8000_0001)).collect();
        let mut builder = RowStoreBuilder::new(n_features, budget);
        let mut rest = &values[..];
        for rows in pushes {
            let (now, later) = rest.split_at(rows * n_features);
            if rows == 1 { builder.push(now).unwrap() } else { builder.extend(now).unwrap() }
            rest = later;
        }
        let store = RowStore { block_rows, ..builder.finish().unwrap() };
        prop_assert_eq!(store.is_spilled(), budget.is_some_and(|budget| store.bytes() > budget));
        let mut next = 0;
        for (first_row, rows) in blocks(&store) {
            prop_assert_eq!(first_row, next);
            prop_assert_eq!(bits(&rows), bits(&values[next * n_features..][..rows.len()]));
            next += rows.len() / n_features;
        }
        prop_assert_eq!(next, store.n_samples());
        let mut row = vec![0.0; n_features];
        for index in (0..next).rev() {
            store.row(index, &mut row).unwrap();
            prop_assert_eq!(bits(&row), bits(&values[index * n_features..][..n_features]));
        }
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}
