//! What memory takes that is asked for.

/// Bytes that an allocation of so many takes, as glibc makes them: a header of eight bytes, in steps of sixteen, and no less
/// than 32 (`malloc/malloc.c`, `request2size`). Nothing takes nothing.
pub const fn allocated(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        1..=24 => 32,
        _ => (bytes + 8).next_multiple_of(16),
    }
}

#[cfg(test)]
mod tests {
    use super::allocated;

    #[test]
    fn small_ones_take_more_than_they_hold() {
        assert_eq!([0, 1, 24, 25, 40, 41, 100_000].map(allocated), [0, 32, 32, 48, 48, 64, 100_016]);
    }
}
