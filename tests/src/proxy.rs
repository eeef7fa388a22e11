//! A TCP proxy before one broker, for a network that is cut: bytes stop without a word, and come later.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

/// Passes connections on to a broker; its threads live as long as the process.
#[derive(Debug)]
pub struct Proxy {
    listener: TcpListener,
    network: Arc<Network>,
}

/// Whether bytes get through.
#[derive(Debug, Default)]
struct Network {
    is_cut: Mutex<bool>,
    healed: Condvar,
}

impl Proxy {
    /// Listens on a free port.
    pub fn bind() -> Self {
        Self { listener: TcpListener::bind("127.0.0.1:0").unwrap(), network: Arc::default() }
    }

    /// The port it listens on.
    pub fn port(&self) -> u16 {
        self.listener.local_addr().unwrap().port()
    }

    /// Stops every byte in both directions, of new connections too, and closes none.
    pub fn cut(&self) {
        *self.network.is_cut.lock().unwrap() = true;
    }

    /// Lets the bytes through again, those that were held back first.
    pub fn heal(&self) {
        *self.network.is_cut.lock().unwrap() = false;
        self.network.healed.notify_all();
    }

    /// Starts to pass connections on to `address`, a `host:port`.
    pub fn pass_on_to(&self, address: &str) {
        let (listener, network, address) =
            (self.listener.try_clone().unwrap(), self.network.clone(), address.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                network.wait_until_whole();
                // A broker that is away refuses: the client's connection closes then, and it tries again.
                if let Ok(broker) = TcpStream::connect(&address) {
                    network.clone().join(client, broker);
                }
            }
        });
    }
}

impl Network {
    fn wait_until_whole(&self) {
        let is_cut = self.is_cut.lock().unwrap();
        drop(self.healed.wait_while(is_cut, |is_cut| *is_cut).unwrap());
    }

    fn join(self: Arc<Self>, client: TcpStream, broker: TcpStream) {
        for stream in [&client, &broker] {
            stream.set_nodelay(true).unwrap();
        }
        let (from_client, to_broker) = (client.try_clone().unwrap(), broker.try_clone().unwrap());
        let network = self.clone();
        std::thread::spawn(move || network.pump(from_client, to_broker));
        std::thread::spawn(move || self.pump(broker, client));
    }

    /// Passes bytes on until either side closes; the other does not hear of that before the network is whole.
    fn pump(&self, mut from: TcpStream, mut to: TcpStream) {
        let mut buffer = vec![0; 1 << 16];
        loop {
            let read = from.read(&mut buffer).unwrap_or(0);
            self.wait_until_whole();
            if read == 0 || to.write_all(&buffer[..read]).is_err() {
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
}
