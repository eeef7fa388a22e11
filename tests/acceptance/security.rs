//! Brokers with TLS, logins and ACLs: who gets in, and what the others are told.

use tests::{Received, Run, Secured, repository, scorer, text};

/// How the user of the tests logs in.
fn login(secured: &Secured, password: &str) -> String {
    let authorities = secured.authorities();
    format!(
        "security.protocol=SASL_SSL\nssl.truststore.location={authorities}\nsasl.mechanism=SCRAM-SHA-512\n\
         sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required \\\n\
         username=\"scorer\" password=\"{password}\";"
    )
}

/// Runs a scorer to the end of the topic, with these settings.
fn run(secured: &Secured, brokers: &str, config: &str, more: &[&str]) -> Run {
    let (models, folder) = (repository().join("models"), tempfile::tempdir().unwrap());
    let (state, config) = (folder.path().join("state"), secured.config(config));
    let where_to = ["run", "--brokers", brokers, "--kafka-config", &config, "--state-dir", text(&state)];
    let how = ["--models", text(&models), "--device", "cpu", "--all-verdicts", "--until-end"];
    scorer(&[&where_to, &how[..], more].concat())
}

/// Whoever may not go on is told why, each in a sentence and with an exit code of its own; with all rights it goes on.
#[test]
fn a_locked_door_says_what_is_missing_and_opens_with_it() {
    let Some(secured) = Secured::start() else { return };
    let plain = secured.kafka.brokers.clone();
    let tls = format!("security.protocol=SSL\nssl.truststore.location={}", secured.authorities());
    let by_address = secured.tls.replace("localhost", "127.0.0.1");
    let with = |password: &str| login(&secured, password);
    let told = |run: &Run, code: i32, expected: &str| {
        assert_eq!(run.code, Some(code), "{expected}: {}", run.stderr);
        let sentence = run.stderr.trim().lines().last().unwrap_or_default();
        assert!(sentence.starts_with("error: ") && sentence.contains(expected), "{expected}: {}", run.stderr);
        assert_eq!(run.stderr.matches("error: ").count(), 1, "it is said once: {}", run.stderr);
        assert!(!run.stderr.contains(Secured::PASSWORD), "{}", run.stderr);
    };
    let door = |brokers: &str, config: &str, code: i32, expected: &str| {
        told(&run(&secured, brokers, config, &[]), code, expected);
    };
    door(&secured.tls, "", 76, "the broker expects TLS");
    door(&plain, &tls, 76, "the broker does not speak TLS there");
    door(&secured.tls, "security.protocol=SSL", 76, "nobody who is trusted vouches for the certificate");
    door(&secured.expired, &tls, 76, "has expired");
    door(&by_address, &tls, 76, "is for other names");
    door(&secured.login, &with("another"), 67, "does not let this program log in: Authentication failed");
    door(&secured.login, &tls, 67, "does not let this program log in");

    secured.kafka.create_topic("purchases", 1, &[]);
    let line = |invoice: u32| format!("{invoice},22143,RED MUG,2,9/1/2010 9:22,1.5,12345,France").into_bytes();
    secured.kafka.send("purchases", &[line(1), line(2)]);
    let right = with(Secured::PASSWORD);
    door(&secured.login, &right, 77, "creating topic `");
    let user = ["--allow-principal", "User:scorer"];
    let topics = ["--operation", "All", "--topic", "*", "--group", "*"];
    secured.acls(&[&user[..], &topics].concat());
    door(&secured.login, &right, 77, "it may not use the transactional id");
    secured.acls(&[&user[..], &["--operation", "All", "--transactional-id", "*"]].concat());

    let denied = ["--deny-principal", "User:scorer", "--operation", "Write", "--topic", "anomalias_kmeans"];
    secured.acls(&denied);
    door(&secured.login, &right, 77, "writing to topic `anomalias_kmeans`");
    secured.undo_acls(&denied);

    let open = run(&secured, &secured.login, &right, &[]);
    assert_eq!(open.code, Some(0), "{}", open.stderr);
    let keys = |received: Vec<Received>| received.into_iter().map(|message| message.key.unwrap()).collect::<Vec<_>>();
    assert_eq!(keys(secured.kafka.read("anomalias_kmeans")), ["1", "2"]);
}
