//! Alerts to a real mail server on loopback, with outages.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on panics")]
#![cfg(feature = "email")]

mod smtp_sink;

use std::time::Duration;

use alerts::{
    Alert, Alerting, Anomaly, Backoff, Channel as _, Condition, Earlier, Email, EmailSettings, Reading, Rule, Secret,
    Security, SendError, Severity,
};
use smtp_sink::{PATIENCE, SmtpSink};

fn settings(sink: &SmtpSink) -> EmailSettings {
    EmailSettings {
        host: sink.address.ip().to_string(),
        port: sink.address.port(),
        security: Security::None,
        login: Some((Secret::new("user"), Secret::new("pass"))),
        from: "Atalaya <atalaya@example.org>".to_owned(),
        to: vec!["risk@example.org".to_owned(), "Second <second@example.org>".to_owned()],
        patience: Duration::from_secs(10),
    }
}

fn email(settings: EmailSettings) -> Email {
    Email::new(settings, Email::templates(None, None).unwrap()).unwrap()
}

#[test]
fn after_an_outage_a_mail_arrives_with_the_name_of_its_alert() {
    // The server is full twice before it takes anything.
    let sink = SmtpSink::start(&["421 4.3.2 too busy", "421 4.3.2 too busy"]);
    let rule = Rule {
        name: "bad".to_owned(),
        condition: Condition::Anomalies { severity: Severity::Low, detectors: Vec::new(), count: 1, window: 60_000 },
        group_by: Vec::new(),
        throttle: 0,
        repeat: None,
        resolve_after: 3_600_000,
        channels: vec!["mail".to_owned()],
    };
    let backoff = Backoff { first: Duration::from_millis(20), longest: Duration::from_millis(100) };
    let channels = vec![("mail".to_owned(), "email", Box::new(email(settings(&sink))) as Box<_>)];
    let ask = std::sync::Arc::new(Reading::default);
    let (alerting, intake) = Alerting::start("invoices", vec![rule], channels, backoff, ask, Earlier::default).unwrap();
    intake.offer(Severity::High, "kmeans", || Anomaly {
        entity: "invoices/0/7/560539".to_owned(),
        key: "560539".to_owned(),
        detector: "kmeans".to_owned(),
        severity: Severity::High,
        // What would begin a header of its own, or end the mail, if it were not in the text.
        reason: "4,000 items\r\nBcc: evil@example.org\r\n.\r\nQUIT".to_owned(),
        customer: None,
        fields: Vec::new(),
        at: 0,
    });
    let mail = sink.next();
    assert_eq!(mail.to.len(), 2, "{mail:?}");
    assert!(mail.from.contains("<atalaya@example.org>") && mail.to[0].contains("<risk@example.org>"), "{mail:?}");
    // \0user\0pass
    assert_eq!(mail.login.as_deref(), Some("AHVzZXIAcGFzcw=="));
    let (head, text) = mail.data.split_once("\n\n").unwrap();
    assert!(head.contains("Subject: [FIRING high] bad: 1 anomaly") && !head.contains("Bcc"), "{head}");
    assert!(text.contains("- 560539 (high, kmeans): 4,000 items") && text.contains("\nBcc: evil"), "{text}");
    let id = head.lines().find_map(|line| line.strip_prefix("Message-ID: <")?.strip_suffix("@example.org>"));
    assert_eq!(id.map(str::len), Some(32), "{head}");
    assert!(sink.greetings.lock().unwrap().is_empty(), "it was refused twice before");
    assert_eq!(alerting.close(PATIENCE), 0);
    assert!(sink.mails.try_recv().is_err(), "it came once");
}

#[test]
fn a_server_that_does_not_encrypt_gets_no_password() {
    let sink = SmtpSink::start(&[]);
    let mail = email(EmailSettings { security: Security::StartTls, ..settings(&sink) });
    let failed = mail.send(&Alert::test("p", "r", 0)).unwrap_err();
    assert!(matches!(failed, SendError::Later { .. }), "{failed}");
    assert!(sink.mails.try_recv().is_err());
}

#[test]
fn addresses_are_checked_and_passwords_are_not_shown() {
    let sink = SmtpSink::start(&[]);
    let wrong = EmailSettings { to: vec!["nobody".to_owned()], ..settings(&sink) };
    assert!(!format!("{wrong:?}").contains("pass\""), "{wrong:?}");
    let error = Email::new(wrong, Email::templates(None, None).unwrap()).unwrap_err().to_string();
    assert_eq!(error, "`nobody` is no e-mail address");
}
