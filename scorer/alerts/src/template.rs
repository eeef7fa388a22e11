//! Texts of alerts, as the pipeline file wants them.

use minijinja::value::Serde;
use minijinja::{AutoEscape, Environment, UndefinedBehavior};
use thiserror::Error;

use crate::alert::Alert;

/// What a template may do: one that never ends is ended.
const FUEL: u64 = 200_000;

/// Bytes of a text that was made.
const LONGEST: usize = 64 << 10;

/// A template that cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("the template {0}")]
pub struct TemplateError(String);

/// A template.
#[derive(Debug)]
pub struct Template {
    environment: Environment<'static>,
    escape: fn(&str) -> String,
}

const NAME: &str = "text";

impl Template {
    /// Reads a template, and tries it: names that an alert does not have are refused.
    ///
    /// # Errors
    /// [`TemplateError`].
    pub fn new(source: &str) -> Result<Self, TemplateError> {
        Self::escaping(source, |text| text.to_owned())
    }

    /// The same, with another form of the texts that come from records.
    pub(crate) fn escaping(source: &str, escape: fn(&str) -> String) -> Result<Self, TemplateError> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        environment.set_fuel(Some(FUEL));
        environment
            .add_template_owned(NAME, source.to_owned())
            .map_err(|error| TemplateError(format!("cannot be read: {}", in_words(&error))))?;
        let template = Self { environment, escape };
        template.render(&Alert::test("pipeline", "rule", 0))?;
        Ok(template)
    }

    /// The text about an alert.
    ///
    /// # Errors
    /// [`TemplateError`] where it names what this alert does not have, or never ends.
    pub fn render(&self, alert: &Alert) -> Result<String, TemplateError> {
        let failed = |error: minijinja::Error| TemplateError(format!("cannot be filled in: {}", in_words(&error)));
        let mut json = serde_json::to_value(alert).map_err(|error| TemplateError(error.to_string()))?;
        escape_all(&mut json, self.escape);
        let template = self.environment.get_template(NAME).map_err(failed)?;
        let mut text = template.render(Serde(&json)).map_err(failed)?;
        text.truncate(text.floor_char_boundary(LONGEST));
        Ok(text)
    }
}

/// What is wrong, and in which line.
fn in_words(error: &minijinja::Error) -> String {
    let detail =
        error.detail().map_or_else(|| error.kind().to_string(), |detail| format!("{}: {detail}", error.kind()));
    error.line().map_or_else(|| detail.clone(), |line| format!("line {line}: {detail}"))
}

/// Texts of records are data wherever they go: what means something in the form of a channel is escaped in them, and only
/// in them.
fn escape_all(value: &mut serde_json::Value, escape: fn(&str) -> String) {
    match value {
        serde_json::Value::String(text) => *text = escape(text),
        serde_json::Value::Array(values) => values.iter_mut().for_each(|value| escape_all(value, escape)),
        serde_json::Value::Object(values) => values.values_mut().for_each(|value| escape_all(value, escape)),
        serde_json::Value::Null | serde_json::Value::Bool(_) | serde_json::Value::Number(_) => {}
    }
}

/// One line: without what begins another one, or is not shown.
#[cfg(feature = "email")]
pub(crate) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert() -> Alert {
        let mut alert = Alert::test("invoices", "bad", 5);
        alert.anomalies[0].reason = "<b> & {{ 1 }}".to_owned();
        alert
    }

    #[test]
    fn a_template_has_the_fields_of_an_alert() {
        let text = "{{ rule }} {{ status }} {{ count }}{% for it in anomalies %} {{ it.reason }}{% endfor %}";
        assert_eq!(Template::new(text).unwrap().render(&alert()).unwrap(), "bad test 1 <b> & {{ 1 }}");
        let json = Template::new("{\"text\": {{ summary|tojson }}}").unwrap().render(&alert()).unwrap();
        assert!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["text"].is_string(), "{json}");
    }

    #[test]
    fn texts_of_records_are_escaped_and_the_template_is_not() {
        let escape = |text: &str| text.replace('<', "&lt;");
        let template = Template::escaping("<x>{{ anomalies[0].reason }}", escape).unwrap();
        assert_eq!(template.render(&alert()).unwrap(), "<x>&lt;b> & {{ 1 }}");
    }

    #[test]
    fn a_template_that_cannot_work_is_refused_at_once() {
        let of = |text: &str| Template::new(text).unwrap_err().to_string();
        assert!(of("{{ rule").starts_with("the template cannot be read: line 1: "), "{}", of("{{ rule"));
        assert!(
            of("{{ nothing }}").starts_with("the template cannot be filled in: line 1: "),
            "{}",
            of("{{ nothing }}")
        );
        let endless = "{% for a in range(9999) %}{% for b in range(9999) %}x{% endfor %}{% endfor %}";
        assert!(of(endless).contains("fuel"), "{}", of(endless));
    }
}
