//! The texts of channels whose pipeline file has none.

/// One line.
pub(super) const TITLE: &str =
    "[{{ status|upper }}{% if severity %} {{ severity }}{% endif %}] {{ rule }}: {{ summary }}";

/// Some lines.
pub(super) const TEXT: &str = "{{ summary }}
{%- if status == 'firing' and count > new %} ({{ new }} since the last message){% endif %}
{%- for it in anomalies %}
- {{ it.key }} ({{ it.severity }}, {{ it.detector }}): {{ it.reason }}
{%- endfor %}
{%- if count > anomalies|length and anomalies %}
These are the newest.
{%- endif %}
pipeline {{ pipeline }}, alert {{ rule }}, {{ id }}";
