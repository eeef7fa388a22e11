//! What is found, in words: shares, scores beside their thresholds, agreement in sentences.

use shared::evaluation::McNemar;

use crate::agreement::Agreement;

/// From which p-value on a difference may well be chance.
const LEVEL: f64 = 0.05;

/// Who was right where the other was wrong, and whether that can be chance.
pub(super) fn who_was_right([a, b]: [&str; 2], test: &McNemar) -> String {
    let McNemar { only_first, only_second, p_value } = *test;
    if only_first + only_second == 0 {
        return format!(
            "Nowhere was one of {a} and {b} right and the other wrong: by the labels they are equally good."
        );
    }
    let meaning = if p_value < LEVEL {
        "so the difference is unlikely to be chance"
    } else {
        "so the difference cannot be told from chance"
    };
    let p_value = probability(p_value);
    format!(
        "{a} was right {} where {b} was wrong, {b} {} where {a} was: exact test p {p_value}, {meaning}.",
        times(only_first),
        times(only_second)
    )
}

/// Names in a sentence: `a, b and c`.
pub(super) fn listed(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_owned(),
        [others @ .., last] => format!("{} and {last}", others.join(", ")),
    }
}

/// What two detectors found, in a sentence; nothing where neither found anything.
pub(super) fn in_short([a, b]: [&str; 2], agreement: &Agreement) -> Option<String> {
    let all = agreement.all();
    let found = all.total() - all.neither;
    let sentence = || {
        format!(
            "Of {found} anomalies of {a} or {b}, {} are of both, {} of {a} alone and {} of {b} alone (Jaccard {:.2}).",
            all.both,
            all.only[0],
            all.only[1],
            agreement.jaccard()
        )
    };
    (found > 0).then(sentence)
}

fn times(count: u64) -> String {
    match count {
        0 => "never".to_owned(),
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

fn probability(p_value: f64) -> String {
    if p_value >= 0.001 {
        format!("= {p_value:.3}")
    } else if p_value > 0.0 {
        format!("= {p_value:.1e}")
    } else {
        "< 1e-300".to_owned()
    }
}

/// A share in words; a dash where there is nothing to take one of.
pub(super) fn percent(share: Option<f64>) -> String {
    share.map_or_else(|| "-".to_owned(), |share| format!("{:.1}%", share * 100.0))
}

/// A score in words: how many times its threshold it is, where scores start at 0, which not every detector's do.
pub(super) fn beside_threshold(score: f32, threshold: f32) -> String {
    if threshold > 0.0 {
        format!("{:7.1} x threshold", f64::from(score) / f64::from(threshold))
    } else {
        format!("{score:8.3} > {threshold:6.3}")
    }
}

#[cfg(test)]
mod tests {
    use shared::evaluation::mcnemar;

    use super::*;

    #[test]
    fn names_are_listed_as_in_a_sentence() {
        let listed = [&[][..], &["a"], &["a", "b"], &["a", "b", "c"]].map(listed);
        assert_eq!(listed, ["", "a", "a and b", "a, b and c"]);
    }

    #[test]
    fn who_was_right_is_one_sentence() {
        let says = |first, second| who_was_right(["kmeans", "zscore"], &mcnemar(first, second));
        insta::assert_snapshot!(says(41, 17), @"kmeans was right 41 times where zscore was wrong, zscore 17 times where kmeans was: exact test p = 0.002, so the difference is unlikely to be chance.");
        insta::assert_snapshot!(says(1, 0), @"kmeans was right once where zscore was wrong, zscore never where kmeans was: exact test p = 1.000, so the difference cannot be told from chance.");
        insta::assert_snapshot!(says(0, 40), @"kmeans was right never where zscore was wrong, zscore 40 times where kmeans was: exact test p = 1.8e-12, so the difference is unlikely to be chance.");
        insta::assert_snapshot!(says(0, 0), @"Nowhere was one of kmeans and zscore right and the other wrong: by the labels they are equally good.");
        assert!(says(0, 100_000).contains("exact test p < 1e-300,"), "{}", says(0, 100_000));
    }
}
