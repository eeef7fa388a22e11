//! A mail server on loopback that answers as it is told.

use std::collections::VecDeque;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// How long something may take that takes a moment.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A mail as a server got it.
#[derive(Debug)]
pub struct Mail {
    pub from: String,
    pub to: Vec<String>,
    pub data: String,
    pub login: Option<String>,
}

/// A mail server that speaks SMTP. It greets with what it has, one a connection, and then as it should.
pub struct SmtpSink {
    pub address: SocketAddr,
    pub mails: Receiver<Mail>,
    pub greetings: Arc<Mutex<VecDeque<String>>>,
}

impl SmtpSink {
    pub fn start(greetings: &[&str]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let greetings: VecDeque<String> = greetings.iter().map(|greeting| (*greeting).to_owned()).collect();
        let greetings = Arc::new(Mutex::new(greetings));
        let (said, mails) = channel();
        let of_server = greetings.clone();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let greeting = of_server.lock().unwrap().pop_front();
                // Whoever goes away in the middle has sent nothing.
                let _ = converse(&stream.unwrap(), greeting, &said);
            }
        });
        Self { address, mails, greetings }
    }

    pub fn next(&self) -> Mail {
        self.mails.recv_timeout(PATIENCE).expect("a mail came")
    }
}

fn converse(stream: &TcpStream, greeting: Option<String>, said: &Sender<Mail>) -> std::io::Result<()> {
    let (mut reader, mut writer) = (BufReader::new(stream), stream);
    let mut say = |text: &str| writer.write_all(format!("{text}\r\n").as_bytes());
    if let Some(greeting) = greeting {
        say(&greeting)?;
        if !greeting.starts_with("220") {
            return Ok(());
        }
    } else {
        say("220 sink ESMTP")?;
    }
    let mut mail = Mail { from: String::new(), to: Vec::new(), data: String::new(), login: None };
    let mut line = String::new();
    while {
        line.clear();
        reader.read_line(&mut line)? > 0
    } {
        let command = line.trim_end().to_owned();
        match command.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase().as_str() {
            "EHLO" => say("250-sink\r\n250-8BITMIME\r\n250 AUTH PLAIN")?,
            "AUTH" => {
                mail.login = command.split(' ').nth(2).map(str::to_owned);
                say("235 2.7.0 welcome")?;
            }
            "MAIL" => {
                mail.from = command;
                say("250 ok")?;
            }
            "RCPT" => {
                mail.to.push(command);
                say("250 ok")?;
            }
            "DATA" => {
                say("354 go on")?;
                loop {
                    let mut line = String::new();
                    reader.read_line(&mut line)?;
                    match line.trim_end() {
                        "." => break,
                        text => mail.data.push_str(&format!("{}\n", text.strip_prefix('.').unwrap_or(text))),
                    }
                }
                say("250 queued")?;
                let fresh = Mail { from: String::new(), to: Vec::new(), data: String::new(), login: None };
                let _ = said.send(std::mem::replace(&mut mail, fresh));
            }
            "QUIT" => return say("221 bye"),
            _ => say("502 what?")?,
        }
    }
    Ok(())
}
