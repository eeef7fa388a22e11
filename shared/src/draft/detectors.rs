//! Detectors that suit what was found.

use records::sniff::Findings;
use records::sniff::roles::Shape;

use super::Request;
use super::names::Names;
use super::section::{Section, toml_text};

/// A detector of two kinds, and one that compares the amounts of a day where there is something to compare within.
pub(super) fn sections(findings: &Findings, request: &Request, names: &Names) -> Vec<Section> {
    let topic = |detector: &str| toml_text(&format!("{}_anomalies_{detector}", request.topic));
    let k = match findings.roles.shape {
        Shape::Sessions { .. } => "k = { elbow = 0.7, max = 20 } # or k = 8",
        Shape::Records => "k = 2                         # or { elbow = 0.7, max = 20 }",
    };
    let kmeans = format!(
        "[[detectors]]\n\
         name = \"kmeans\"\n\
         algorithm = \"kmeans\"          # or any other: see docs/detectors.md\n\
         scaling = \"robust\"            # none, standard, robust or symlog\n\
         {k}\n\
         threshold = {{ quantile = 0.99 }} # or {{ top = 2000 }}, or {{ false_alarm_rate = 0.001 }}\n\
         topic = {}\n",
        topic("kmeans")
    );
    let forest = format!(
        "[[detectors]]\n\
         name = \"isolation-forest\"\n\
         algorithm = \"isolation-forest\"\n\
         scaling = \"robust\"\n\
         threshold = {{ quantile = 0.99 }}\n\
         topic = {}\n",
        topic("isolation-forest")
    );
    let mut sections = vec![Section::plain(kmeans), Section::plain(forest)];
    let roles = &findings.roles;
    let key = roles.merchant.or(roles.customer);
    if let (Shape::Records, Some(key), Some(amount), Some(time)) = (roles.shape, key, roles.amount, &roles.time)
        && time.scale == 1
    {
        let (value, by) = (toml_text(names.get(amount)), toml_text(names.get(key)));
        sections.push(Section::plain(format!(
            "[[detectors]]                 # needs no training: compares each amount with the others of that day\n\
             name = \"zscore\"\n\
             algorithm = \"zscore-window\"\n\
             value = {value}\n\
             by = {by}\n\
             window = \"1d\"                 # a verdict comes when the last window of its record ends\n\
             slide = \"6h\"\n\
             watermark = \"5m\"              # a window is judged this long after its end\n\
             robust = true\n\
             threshold = 9.0               # in (robust) standard deviations\n\
             min_count = 5                 # a window with fewer records is ignored\n\
             topic = {}\n",
            topic("zscore")
        )));
    }
    sections
}
