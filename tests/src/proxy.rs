//! A TCP proxy before one broker, for a network that is cut: bytes stop without a word, and come later.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{JoinHandle, Scope};

/// Passes connections on to a broker; they and its threads end when this is dropped.
#[derive(Debug)]
pub struct Proxy {
    listener: TcpListener,
    network: Arc<Network>,
    accepting: Mutex<Option<JoinHandle<()>>>,
}

/// Whether bytes get through, and between whom.
#[derive(Debug, Default)]
struct Network {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    is_cut: bool,
    is_closed: bool,
    /// Both ends of every connection that there has been.
    streams: Vec<TcpStream>,
}

impl Proxy {
    /// Listens on a free port.
    pub fn bind() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        Self { listener, network: Arc::default(), accepting: Mutex::default() }
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// Stops every byte in both directions, of new connections too, and closes none.
    pub fn cut(&self) {
        self.network.change(|state| state.is_cut = true);
    }

    /// Lets the bytes through again, those that were held back first.
    pub fn heal(&self) {
        self.network.change(|state| state.is_cut = false);
    }

    /// Starts to pass connections on to `address`, a `host:port`.
    pub fn pass_on_to(&self, address: &str) {
        let (listener, network) = (self.listener.try_clone().unwrap(), self.network.clone());
        let address = address.to_owned();
        let accept = move || std::thread::scope(|scope| network.accept(scope, &listener, &address));
        *self.accepting.lock().unwrap() = Some(std::thread::spawn(accept));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.network.change(State::close);
        if let Some(accepting) = self.accepting.get_mut().unwrap().take() {
            // It waits for a connection.
            drop(TcpStream::connect(("127.0.0.1", self.port())));
            let _ = accepting.join();
        }
    }
}

impl State {
    fn close(&mut self) {
        self.is_closed = true;
        for stream in self.streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Network {
    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
    }

    /// Waits while the network is cut; whether the proxy is still there then.
    fn wait_until_whole(&self) -> bool {
        let whole = self.changed.wait_while(self.state.lock().unwrap(), |state| state.is_cut && !state.is_closed);
        !whole.unwrap().is_closed
    }

    /// Takes connections until the proxy is closed.
    fn accept<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, listener: &TcpListener, address: &str) {
        for client in listener.incoming().flatten() {
            if !self.wait_until_whole() {
                break;
            }
            // A broker that is away refuses: the client's connection closes then, and it tries again.
            if let Ok(broker) = TcpStream::connect(address) {
                self.join(scope, &client, &broker);
            }
        }
    }

    fn join<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, client: &TcpStream, broker: &TcpStream) {
        let clone = |stream: &TcpStream| stream.try_clone().unwrap();
        for (from, to) in [(client, broker), (broker, client)] {
            from.set_nodelay(true).unwrap();
            let (from, to) = (clone(from), clone(to));
            scope.spawn(move || self.pump(from, to));
        }
        self.change(|state| {
            state.streams.extend([clone(client), clone(broker)]);
            if state.is_closed {
                state.close();
            }
        });
    }

    /// Passes bytes on until either side closes; the other does not hear of that before the network is whole.
    fn pump(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = from.read(&mut buffer).unwrap_or(0);
            if !self.wait_until_whole() || read == 0 || to.write_all(&buffer[..read]).is_err() {
                break;
            }
        }
        let _ = from.shutdown(Shutdown::Both);
        let _ = to.shutdown(Shutdown::Both);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_a_cut_held_back_arrives_when_it_heals() {
        let broker = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::bind();
        proxy.pass_on_to(&broker.local_addr().unwrap().to_string());
        let mut client = TcpStream::connect(("127.0.0.1", proxy.port())).unwrap();
        let (mut accepted, _) = broker.accept().unwrap();
        let mut received = [0; 2];
        client.write_all(b"ab").unwrap();
        accepted.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"ab");
        proxy.cut();
        client.write_all(b"cd").unwrap();
        accepted.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        assert!(accepted.read(&mut received).is_err(), "nothing comes through a cut");
        proxy.heal();
        accepted.set_read_timeout(None).unwrap();
        accepted.read_exact(&mut received).unwrap();
        assert_eq!(&received, b"cd");
    }

    #[test]
    fn a_proxy_that_is_dropped_ends_its_connections_even_through_a_cut() {
        let broker = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Proxy::bind();
        let port = proxy.port();
        proxy.pass_on_to(&broker.local_addr().unwrap().to_string());
        let mut client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        client.write_all(b"ab").unwrap();
        let (mut accepted, _) = broker.accept().unwrap();
        accepted.read_exact(&mut [0; 2]).unwrap();
        proxy.cut();
        client.write_all(b"cd").unwrap();
        drop(proxy);
        assert_eq!(accepted.read(&mut [0; 1]).unwrap_or(0), 0, "the broker's side is closed");
        assert_eq!(client.read(&mut [0; 1]).unwrap_or(0), 0, "the client's side is closed");
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody listens any more");
    }
}
