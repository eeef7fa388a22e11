use crate::pipeline::{AlertBy, AlertCondition, ChannelKind, MailSecurity, Pipeline, Reference};

const INVOICES: &str = include_str!("../../../../resources/pipelines/invoices.toml");

const HOOK: &str = "[[channels]]\nname = \"hook\"\ntype = \"webhook\"\nurl = \"https://example.org/hook\"\n";

fn with(sections: &str) -> Result<Pipeline, String> {
    Pipeline::parse(&format!("{INVOICES}\n{sections}"), "test.toml").map_err(|error| error.to_string())
}

/// What is wrong with an alert of these keys.
fn alert(keys: &str) -> String {
    with(&format!("{HOOK}[[alerts]]\nname = \"a\"\nchannels = [\"hook\"]\n{keys}\n")).unwrap_err()
}

/// What is wrong with a channel of these keys.
fn channel(keys: &str) -> String {
    with(&format!("[[channels]]\nname = \"c\"\n{keys}\n")).unwrap_err()
}

#[test]
fn alerts_and_channels_are_read() {
    let pipeline = with(&format!(
        "{HOOK}secret = \"env:KEY\"
[[channels]]
name = \"mail\"
type = \"email\"
server = \"smtp.example.org\"
security = \"tls\"
user = \"atalaya\"
password = \"file:/run/secrets/smtp\"
from = \"atalaya@example.org\"
to = [\"risk@example.org\"]
[[channels]]
name = \"topic\"
type = \"kafka\"
topic = \"alerts\"
[[alerts]]
name = \"many\"
severity = \"high\"
detectors = [\"kmeans\"]
count = 3
window = \"10m\"
group_by = [\"customer\", \"Country\"]
repeat = \"4h\"
channels = [\"hook\", \"mail\"]
[[alerts]]
name = \"quiet\"
when = \"silence\"
channels = [\"topic\"]
[[alerts]]
name = \"changed\"
when = \"drift\"
channels = [\"topic\"]
"
    ))
    .unwrap();
    let [many, quiet, changed] = &pipeline.alerts[..] else { panic!("{:?}", pipeline.alerts) };
    let (severity, detectors) = ("high", vec!["kmeans".to_owned()]);
    assert_eq!(many.condition, AlertCondition::Anomaly { severity, detectors, count: 3, window: 600_000 });
    assert_eq!(many.group_by, [AlertBy::Customer, AlertBy::Field("Country".to_owned())]);
    assert_eq!((many.throttle, many.repeat, many.resolve_after), (300_000, Some(14_400_000), 1_800_000));
    assert_eq!(quiet.condition, AlertCondition::Silence { lasting: 600_000 });
    assert_eq!((&changed.condition, changed.resolve_after), (&AlertCondition::Drift, 60_000));
    let secret = Some(Reference::Env("KEY".to_owned()));
    let url = Reference::Plain("https://example.org/hook".to_owned());
    assert_eq!(pipeline.channels[0].kind, ChannelKind::Webhook { url, secret });
    assert!(matches!(&pipeline.channels[1].kind, ChannelKind::Email { port: 465, security: MailSecurity::Tls, .. }));
    assert!(pipeline.output_topics().contains(&"alerts"));
}

#[test]
fn what_an_alert_cannot_mean_is_explained() {
    let says = |keys: &str, words: &str| assert!(alert(keys).contains(words), "{keys}: {}", alert(keys));
    says("sverity = \"low\"", "unknown key `sverity` in [[alerts]] number 1; did you mean `severity`?");
    says("severity = \"hihg\"", "[[alerts]] a: severity: there is no severity `hihg`; did you mean `high`?");
    says("detectors = [\"kmean\"]", "there is no detector `kmean`; did you mean `kmeans`?");
    says("count = 3", "[[alerts]] a: window: is needed where there is a count");
    says("count = 3000\nwindow = \"1h\"", "must be at most 1000");
    says("when = \"lagg\"", "there is no condition `lagg`; did you mean `lag`?");
    says("when = \"lag\"", "[[alerts]] a: records: is needed for when = \"lag\"");
    says("when = \"erroneous_rate\"\nabove = 5.0", "must be a share from 0 to 1");
    says("when = \"silence\"\ncount = 2", "count: means nothing with when = \"silence\", which has lasting");
    says("when = \"silence\"\ngroup_by = [\"key\"]", "is for alerts on anomalies");
    says(
        "when = \"drift\"\nlasting = \"1m\"",
        "lasting: means nothing with when = \"drift\", which has no keys of its own",
    );
    says("group_by = [\"Contry\"]", "there is no field of [outputs] `Contry`; did you mean `Country`?");
    says("throttle = \"soon\"", "[[alerts]] a: throttle: `soon` is not a span of time");
    let nobody = with("[[alerts]]\nname = \"a\"\nchannels = [\"b\"]\n").unwrap_err();
    assert!(nobody.contains("there is no channel `b`; the file has none"), "{nobody}");
    let once = with("[alerts]\nname = \"a\"\n").unwrap_err();
    assert!(once.contains("[[alerts]]: is written with two brackets"), "{once}");
}

#[test]
fn secrets_do_not_stand_in_the_file_and_are_not_repeated() {
    let says = |keys: &str, words: &str| {
        let said = channel(keys);
        assert!(said.contains(words) && !said.contains("T0KEN"), "{keys}: {said}");
    };
    let hook = "type = \"webhook\"\nurl = \"https://example.org/\"\n";
    says(&format!("{hook}secret = \"T0KEN\""), "secret: is a secret, which does not belong into this file");
    says("type = \"slack\"\nurl = \"https://hooks.slack.com/T0KEN\"", "url: is a secret");
    says("type = \"webhook\"\nurl = \"https://example.org/?key=T0KEN\"", "url: may hold a secret");
    says("type = \"alertmanager\"\nurl = \"https://user:T0KEN@example.org\"", "url: may hold a secret");
    says("type = \"webhook\"\nurl = \"T0KEN\"", "url: must begin with https://");
    let mail = "type = \"email\"\nserver = \"s:25\"\nfrom = \"a@b.c\"\nto = [\"a@b.c\"]\n";
    says(&format!("{mail}user = \"u\"\npassword = \"T0KEN\""), "password: is a secret");
    says(&format!("{mail}password = \"env:P\""), "user: is needed where there is a password");
    says(&format!("{mail}security = \"ssl\""), "`ssl` is not known: use");
    says("type = \"email\"\nserver = \"s:x\"\nfrom = \"a@b.c\"\nto = [\"a@b.c\"]", "must be a name with a port");
    says("type = \"webhook\"", "url: is needed for type = \"webhook\"");
    says("type = \"webhok\"", "there is no type of channel `webhok`; did you mean `webhook`?");
    says(&format!("{hook}topic = \"t\""), "topic: means nothing with type = \"webhook\"");
    says("type = \"webhook\"\nurl = \"env:\"", "env: needs the name of a variable");
}
