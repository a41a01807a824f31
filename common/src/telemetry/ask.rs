//! Asking a program of this machine whether it is ready: for the health checks of containers, which have no other HTTP
//! client.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::time::Duration;

/// How long each step may take.
const LIMIT: Duration = Duration::from_secs(4);

/// The program on this machine is not ready.
#[derive(Debug, thiserror::Error)]
pub enum NotReady {
    /// Nobody listens, or it says nothing in time.
    #[error("nothing answers at {0}")]
    Silent(SocketAddr, #[source] std::io::Error),
    /// It says that it is down.
    #[error("{0} is not ready")]
    Down(SocketAddr),
}

/// Succeeds when `/health/ready` answers 200.
pub fn ask_ready(listen: SocketAddr) -> Result<(), NotReady> {
    ask_ready_over(listen, |stream, _place| Ok(stream))
}

/// The same on what `open` makes of the connection, such as one with TLS.
pub fn ask_ready_over<S: Read + Write>(
    listen: SocketAddr,
    open: impl FnOnce(TcpStream, SocketAddr) -> std::io::Result<S>,
) -> Result<(), NotReady> {
    let place = reachable(listen);
    let status = ask(place, open).map_err(|source| NotReady::Silent(place, source))?;
    if status.starts_with(b"HTTP/1.1 200 ") {
        Ok(())
    } else {
        Err(NotReady::Down(place))
    }
}

fn ask<S: Read + Write>(
    place: SocketAddr,
    open: impl FnOnce(TcpStream, SocketAddr) -> std::io::Result<S>,
) -> std::io::Result<[u8; 13]> {
    let stream = TcpStream::connect_timeout(&place, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.set_write_timeout(Some(LIMIT))?;
    let mut stream = open(stream, place)?;
    let request = "GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    stream.write_all(request.as_bytes())?;
    let mut status = [0; 13];
    stream.read_exact(&mut status)?;
    Ok(status)
}

/// Who listens everywhere is asked on the loopback.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everywhere_is_asked_here() {
        for (listen, asked) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "[::1]:1"),
            ("10.0.0.1:1", "10.0.0.1:1"),
        ] {
            let listen: SocketAddr = listen.parse().unwrap();
            assert_eq!(reachable(listen).to_string(), asked);
        }
    }
}
